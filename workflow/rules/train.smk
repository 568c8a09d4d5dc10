rule train:
    input:
        code=code_of("train"),
        prepared=lambda wildcards: at(
            f"data/prepared/{config['classification'][wildcards.grid]['dataset']}.safetensors"
        ),
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
        "python -m bnblind.pipeline train --numerics {params.numerics} --cell {params.cell:q}"
        " --prepared {input.prepared} --checkpoint {log}.checkpoint"
        " --weights {output.weights} --results {output.results} > {log} 2>&1"


rule trained:
    input:
        trained_files(),
