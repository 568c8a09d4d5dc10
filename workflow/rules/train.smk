rule train:
    input:
        code=code_of("train"),
        prepared=lambda wildcards: prepared_of(wildcards.grid),
    output:
        weights=update(at(MODEL_FILE)),
        results=update(at(RESULT_FILE)),
    log:
        at("logs/train/{grid}/{norm}.log"),
    benchmark:
        at("logs/benchmarks/train/{grid}/{norm}.tsv")
    params:
        numerics=NUMERICS,
        cells=lambda wildcards: json.dumps(cells.trained_cells(config, wildcards)),
    shell:
        step(
            "train --cells {params.cells:q} --prepared {input.prepared} "
            "--checkpoint {log}.checkpoint --weights {output.weights} "
            "--results {output.results}"
        )


rule list_weights:
    input:
        code=code_of("list_weights"),
        networks=[at(MODEL_FILE.format(**job)) for job in JOBS],
        flows=[at(FLOW_MODEL_FILE.format(**job)) for job in FLOW_JOBS],
    output:
        listing=update(at("data/models/weights.json")),
    log:
        at("logs/list_weights.log"),
    params:
        numerics=NUMERICS,
    shell:
        step(
            "list_weights --networks {input.networks} --flows {input.flows} "
            "--listing {output.listing}"
        )


rule trained:
    input:
        trained_files(),
        flow_files(),
        rules.list_weights.output,
