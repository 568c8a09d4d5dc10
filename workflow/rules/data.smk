rule export_data:
    input:
        code=code_of("export_data"),
    output:
        raw=update(at("data/raw/{dataset}/{file}")),
    log:
        at("logs/export_data/{dataset}-{file}.log"),
    params:
        numerics=NUMERICS,
        registered=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
    shell:
        step("export_data --registered {params.registered:q} --raw {output.raw}")


rule prepare_data:
    input:
        code=code_of("prepare_data"),
        raw=lambda wildcards: raw_file(wildcards.dataset),
    output:
        prepared=update(at("data/prepared/{dataset}.safetensors")),
        manifest=update(at("data/prepared/{dataset}.json")),
    log:
        at("logs/prepare_data/{dataset}.log"),
    params:
        numerics=NUMERICS,
        registered=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        split=lambda wildcards: json.dumps(config["data"][wildcards.dataset]),
    shell:
        step(
            "prepare_data --dataset {wildcards.dataset} --registered {params.registered:q} "
            "--split {params.split:q} --raw {input.raw} --prepared {output.prepared} "
            "--manifest {output.manifest}"
        )


rule prepared:
    input:
        prepared_files(),
