rule contact_sheet:
    input:
        code=code_of("contact_sheet"),
        prepared=at("data/prepared/{dataset}.safetensors"),
    output:
        kept(*figure_files("data/{dataset}")),
    log:
        at("logs/contact_sheet/{dataset}.log"),
    params:
        numerics=NUMERICS,
        figures=lambda wildcards: at("reports/figures"),
    shell:
        step(
            "contact_sheet --dataset {wildcards.dataset} --prepared {input.prepared} "
            "--figures {params.figures}"
        )


rule theorems_page:
    input:
        code=code_of_notebook("theorems"),
        notebook="notebooks/theorems.ipynb",
        passing=rules.theorems.output.passing,
        errors=rules.theorems.output.errors,
        leak=rules.theorems.output.leak,
    output:
        kept(*figure_files("theorems/passing", "theorems/points", "theorems/leak")),
        executed=update(at("reports/pages/theorems.ipynb")),
        page=update(at("reports/pages/theorems.html")),
    log:
        at("logs/theorems_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "passing": input.passing,
                "errors": input.errors,
                "leak": input.leak,
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )


rule classification_page:
    input:
        code=code_of_notebook("classification"),
        notebook="notebooks/classification.ipynb",
        results=rules.collect.output.table,
    output:
        kept(*figure_files(*classification_figures())),
        executed=update(at("reports/pages/classification.ipynb")),
        page=update(at("reports/pages/classification.html")),
    log:
        at("logs/classification_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "results": input.results,
                "classes": {
                    name: DATASETS[name]["classes"] for name in config["data"]
                },
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )


rule derivatives_page:
    input:
        code=code_of_notebook("derivatives"),
        notebook="notebooks/derivatives.ipynb",
        terms=expand(rules.derivatives.output.terms, grid=config["derivatives"]),
        blocked=expand(rules.derivatives.output.blocked, grid=config["derivatives"]),
    output:
        kept(*figure_files(*derivatives_figures())),
        executed=update(at("reports/pages/derivatives.ipynb")),
        page=update(at("reports/pages/derivatives.html")),
    log:
        at("logs/derivatives_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "terms": dict(zip(config["derivatives"], input.terms)),
                "blocked": dict(zip(config["derivatives"], input.blocked)),
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )


rule index:
    input:
        code=code_of("index"),
        templates=[
            f"src/bnblind/pipeline/templates/{f}"
            for f in ("index.html.j2", "style.css")
        ],
        passing=rules.theorems.output.passing,
        theorems=rules.theorems.output.metrics,
        results=rules.collect.output.table,
        manifests=expand(at("data/prepared/{dataset}.json"), dataset=config["data"]),
    output:
        index=update(at("reports/index.html")),
    log:
        at("logs/index.log"),
    params:
        numerics=NUMERICS,
        profile=config["profile"],
        derivatives=next(iter(config["derivatives"])),
    shell:
        step(
            "index --profile {params.profile} --passing {input.passing} "
            "--theorems {input.theorems} --results {input.results} "
            "--derivatives {params.derivatives} --manifests {input.manifests} "
            "--index {output.index}"
        )


rule reported:
    input:
        expand(rules.contact_sheet.output, dataset=config["data"]),
        rules.theorems_page.output,
        rules.classification_page.output,
        rules.derivatives_page.output,
        rules.flow_page.output,
        rules.index.output,
