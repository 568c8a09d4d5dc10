rule export_data:
    input:
        code=code_of("export_data"),
    output:
        raw=kept(PATHS.raw("{dataset}", "{file}")),
    log:
        PATHS.log("export_data", "{dataset}-{file}"),
    localrule: True
    resources:
        **asked("export_data"),
    params:
        **shared("export_data", "{dataset}-{file}"),
        registered=lambda wildcards: json.dumps(
            DATASETS[wildcards.dataset]["files"][wildcards.file]
        ),
    shell:
        step(
            "export_data --dataset {wildcards.dataset:q} --registered {params.registered:q}"
        )


rule prepare_data:
    input:
        code=code_of("prepare_data"),
        raw=lambda wildcards: [
            PATHS.raw(wildcards.dataset, file)
            for file in DATASETS[wildcards.dataset]["files"]
        ],
    output:
        prepared=kept(PATHS.prepared("{dataset}")),
        manifest=kept(PATHS.manifest("{dataset}")),
    log:
        PATHS.log("prepare_data", "{dataset}"),
    resources:
        **asked("prepare_data"),
    params:
        **shared("prepare_data", "{dataset}"),
        registered=lambda wildcards: json.dumps(DATASETS[wildcards.dataset]),
        split=lambda wildcards: json.dumps(config["data"][wildcards.dataset]),
    shell:
        step(
            "prepare_data --dataset {wildcards.dataset:q} --registered {params.registered:q} "
            "--split {params.split:q}"
        )


rule contact_sheet:
    input:
        code=code_of("contact_sheet"),
        prepared=PATHS.prepared("{dataset}"),
    output:
        reported(PATHS.figure("data/{dataset}")[0], "The data", "images", "{dataset}"),
        *map(kept, PATHS.figure("data/{dataset}")[1:]),
    log:
        PATHS.log("contact_sheet", "{dataset}"),
    localrule: True
    resources:
        **asked("contact_sheet"),
    params:
        **shared("contact_sheet", "{dataset}"),
        made_by="contact_sheet",
        captions={"images": "the first training images of each class, a class per row."},
        figures=lambda wildcards: PATHS.figures(),
    shell:
        step(
            "contact_sheet --rule {params.made_by:q} --dataset {wildcards.dataset:q} --figures {params.figures:q}"
        )
