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
        rates=at("data/results/rates.parquet"),
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
                "rates": input.rates,
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


rule purity_page:
    input:
        code=code_of_notebook("purity"),
        notebook="notebooks/purity.ipynb",
        results=at("data/results/purity.parquet"),
    output:
        kept(*figure_files(*purity_figures())),
        executed=update(at("reports/pages/purity.ipynb")),
        page=update(at("reports/pages/purity.html")),
    log:
        at("logs/purity_page.log"),
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


rule scope_page:
    input:
        code=code_of_notebook("scope"),
        notebook="notebooks/scope.ipynb",
        terms=expand(rules.derivatives.output.terms, grid=config["derivatives"]),
        results=rules.collect.output.table,
        rates=at("data/results/rates.parquet"),
        flows=rules.collect_flows.output.table,
    output:
        kept(*figure_files("scope/erasure")),
        executed=update(at("reports/pages/scope.ipynb")),
        page=update(at("reports/pages/scope.html")),
    log:
        at("logs/scope_page.log"),
    params:
        numerics=NUMERICS,
        parameters=lambda wildcards, input: json.dumps(
            {
                "numerics": NUMERICS,
                "terms": list(input.terms),
                "results": input.results,
                "rates": input.rates,
                "flows": input.flows,
                "classes": max(DATASETS[name]["classes"] for name in config["data"]),
                "figures": at("reports/figures"),
            }
        ),
    shell:
        step(
            "notebook --notebook {input.notebook} --parameters {params.parameters:q} "
            "--executed {output.executed} --page {output.page}"
        )


rule claims:
    input:
        code=code_of("claims"),
        templates=templates("claims.html.j2", "style.css"),
        claims="config/claims.yaml",
        schema="workflow/schemas/claims.schema.yaml",
        proofs=PROOFS_RECORD,
        sources=[*PROOFS, *PROOFS_CHECK],
        tables=result_tables(),
    output:
        ledger=update(at("reports/claims.json")),
        verdicts=update(at("reports/verdicts.json")),
        page=update(at("reports/pages/claims.html")),
    log:
        at("logs/claims.log"),
    params:
        numerics=NUMERICS,
        profile=config["profile"],
        results=lambda wildcards: at("data/results"),
    shell:
        step(
            "claims --claims {input.claims} --proofs {input.proofs} --results {params.results} "
            "--tables {input.tables} --profile {params.profile} "
            "--ledger {output.ledger} --verdicts {output.verdicts} --page {output.page}"
        )


rule about:
    input:
        code=code_of("about"),
        templates=templates("about.html.j2", "style.css"),
        graph="docs/images/rulegraph.svg",
    output:
        page=update(at("reports/pages/pipeline.html")),
    log:
        at("logs/about.log"),
    params:
        numerics=NUMERICS,
        settings=json.dumps(config),
    shell:
        step(
            "about --settings {params.settings:q} --graph {input.graph} "
            "--page {output.page}"
        )


EXPERIMENT_PAGES = [
    rules.theorems_page,
    rules.classification_page,
    rules.purity_page,
    rules.derivatives_page,
    rules.features_page,
    rules.linear_signal_page,
    rules.flow_page,
    rules.scope_page,
]


rule index:
    input:
        code=code_of("index"),
        templates=templates("index.html.j2", "style.css"),
        ledger=rules.claims.output.ledger,
        pages=[page.output.page for page in EXPERIMENT_PAGES],
        figures=[
            file
            for page in EXPERIMENT_PAGES
            for file in page.output
            if file.endswith(".svg")
        ],
        manifests=expand(at("data/prepared/{dataset}.json"), dataset=config["data"]),
    output:
        index=update(at("reports/index.html")),
    log:
        at("logs/index.log"),
    params:
        numerics=NUMERICS,
        profile=config["profile"],
        folder=lambda wildcards: at("reports/figures"),
    shell:
        step(
            "index --profile {params.profile} --ledger {input.ledger} "
            "--pages {input.pages} --folder {params.folder} --figures {input.figures} "
            "--manifests {input.manifests} --index {output.index}"
        )


rule reported:
    input:
        expand(rules.contact_sheet.output, dataset=config["data"]),
        rules.theorems_page.output,
        rules.classification_page.output,
        rules.purity_page.output,
        rules.derivatives_page.output,
        rules.claims.output,
        rules.about.output,
        rules.scope_page.output,
        rules.features_page.output,
        rules.linear_signal_page.output,
        rules.flow_page.output,
        rules.index.output,
