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
        cells=[at(RESULT_FILE.format(**cell)) for cell in CELLS],
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


rule analysed:
    input:
        rules.theorems.output,
        rules.collect.output,
