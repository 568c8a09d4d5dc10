rule train:
    input:
        code=code_of("train"),
        prepared=lambda wildcards: prepared_of(wildcards.grid),
    output:
        weights=update(at(MODEL_FILE)),
        results=update(at(RESULT_FILE)),
    log:
        at("logs/train/{grid}/{norm}-{batching}-lr{lr}.log"),
    benchmark:
        at("logs/benchmarks/train/{grid}/{norm}-{batching}-lr{lr}.tsv")
    params:
        numerics=NUMERICS,
        cell=lambda wildcards: json.dumps(
            configuration.cell_settings(config, wildcards)
        ),
    shell:
        step(
            "train --cell {params.cell:q} --prepared {input.prepared} "
            "--checkpoint {log}.checkpoint --weights {output.weights} "
            "--results {output.results}"
        )


rule list_weights:
    input:
        code=code_of("list_weights"),
        weights=[at(MODEL_FILE.format(**cell)) for cell in CELLS],
    output:
        listing=update(at("data/models/classification.json")),
    log:
        at("logs/list_weights.log"),
    params:
        numerics=NUMERICS,
    shell:
        step("list_weights --weights {input.weights} --listing {output.listing}")


rule trained:
    input:
        trained_files(),
        flow_files(),
        rules.list_weights.output,
