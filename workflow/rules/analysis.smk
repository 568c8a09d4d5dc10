rule theorems:
    input:
        code=code_of("theorems"),
    output:
        passing=update(at("data/results/theorems/passing.parquet")),
        errors=update(at("data/results/theorems/errors.parquet")),
        leak=update(at("data/results/theorems/leak.parquet")),
        metrics=update(at("data/results/theorems.json")),
    log:
        at("logs/theorems.log"),
    benchmark:
        at("logs/benchmarks/theorems.tsv")
    params:
        numerics=NUMERICS,
        settings=json.dumps(config["theorems"]),
    shell:
        step(
            "theorems --settings {params.settings:q} --passing {output.passing} "
            "--errors {output.errors} --leak {output.leak} --metrics {output.metrics}"
        )


rule collect:
    input:
        code=code_of("collect"),
        cells=[at(RESULT_FILE.format(**job)) for job in JOBS],
    output:
        table=update(at("data/results/classification.parquet")),
        metrics=update(at("data/results/classification.json")),
    log:
        at("logs/collect.log"),
    params:
        numerics=NUMERICS,
    shell:
        step(
            "collect --cells {input.cells} --table {output.table} "
            "--metrics {output.metrics}"
        )


rule derivatives:
    input:
        code=code_of("derivatives"),
        prepared=lambda wildcards: prepared_of(wildcards.grid),
        weights=lambda wildcards: weights_of(wildcards.grid),
    output:
        terms=update(at("data/results/derivatives/{grid}-terms.parquet")),
        blocked=update(at("data/results/derivatives/{grid}-blocked.parquet")),
    log:
        at("logs/derivatives/{grid}.log"),
    benchmark:
        at("logs/benchmarks/derivatives/{grid}.tsv")
    params:
        numerics=NUMERICS,
        probing=lambda wildcards: json.dumps(config["derivatives"][wildcards.grid]),
    shell:
        step(
            "derivatives --probing {params.probing:q} --prepared {input.prepared} "
            "--weights {input.weights} --terms {output.terms} --blocked {output.blocked}"
        )


rule analysed:
    input:
        rules.theorems.output,
        expand(rules.derivatives.output, grid=config["derivatives"]),
        expand(rules.features.output, grid=config["features"]),
        rules.linear_signal.output,
        rules.collect.output,
        expand(rules.collect_sweep.output, sweep=cells.SWEEPS),
        rules.collect_flows.output,
