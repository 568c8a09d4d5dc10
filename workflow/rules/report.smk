# The pages: a notebook of each experiment that has one, the ledger of claims, the first page.

PAGES = {name: e.page for name, e in EXPERIMENTS.items() if e.page}

for experiment, shown in PAGES.items():
    page_rule = EXPERIMENTS[experiment].makes_page
    page_inputs = EXPERIMENTS[experiment].page_inputs(config, PATHS)

    rule:
        name:
            page_rule
        input:
            flat(page_inputs),
            code=code_of_page(experiment),
            notebook=f"notebooks/{experiment}.ipynb",
        output:
            *[
                kept(path)
                for stem in EXPERIMENTS[experiment].stems(config)
                for path in PATHS.figure(stem)
            ],
            executed=kept(PATHS.notebook(experiment)),
            page=kept(PATHS.page(experiment)),
        log:
            PATHS.log(page_rule),
        resources:
            **asked(page_rule),
        params:
            **shared(page_rule),
            parameters=json.dumps(
                {
                    "numerics": NUMERICS,
                    **page_inputs,
                    **shown.parameters(config),
                    "figures": PATHS.figures(),
                }
            ),
        shell:
            step("notebook --parameters {params.parameters:q}")


rule claims:
    input:
        code=code_of("claims"),
        templates=templates("claims.html.j2"),
        claims="config/claims.yaml",
        schema="workflow/schemas/claims.schema.yaml",
        proofs="proofs/record.json",
        sources=[*PROOFS, *PROOFS_CHECK],
        tables=[
            PATHS.table(name)
            for experiment in EXPERIMENTS.values()
            for name in experiment.of_config(experiment.tables.values(), config)
        ],
    output:
        ledger=kept(PATHS.ledger()),
        verdicts=kept(PATHS.verdicts()),
        page=kept(PATHS.page("claims")),
    log:
        PATHS.log("claims"),
    resources:
        **asked("claims"),
    params:
        **shared("claims"),
        profile=config["profile"],
        kinds=lambda wildcards: judged_tables(EXPERIMENTS.values()),
        results=lambda wildcards: PATHS.results(),
    shell:
        step(
            "claims --results {params.results} --kinds {params.kinds:q} --profile {params.profile}"
        )


rule about:
    input:
        code=code_of("about"),
        templates=templates("about.html.j2"),
        graph="docs/images/rulegraph.svg",
    output:
        page=kept(PATHS.page("pipeline")),
    log:
        PATHS.log("about"),
    resources:
        **asked("about"),
    params:
        **shared("about"),
        settings=json.dumps(config),
    shell:
        step("about --settings {params.settings:q}")


SECTIONS = [
    {
        "page": name,
        "title": EXPERIMENTS[name].title,
        "figure": page.shown,
        "sentence": page.sentence,
    }
    for name, page in PAGES.items()
    if page.shown
]


rule index:
    input:
        [PATHS.page(name) for name in PAGES],
        code=code_of("index"),
        templates=templates("index.html.j2"),
        ledger=PATHS.ledger(),
        figures=[
            PATHS.figure(stem)[0]
            for name in PAGES
            for stem in EXPERIMENTS[name].stems(config)
        ],
        manifests=[PATHS.manifest(dataset) for dataset in config["data"]],
    output:
        index=kept(PATHS.index()),
    log:
        PATHS.log("index"),
    resources:
        **asked("index"),
    params:
        **shared("index"),
        profile=config["profile"],
        sections=json.dumps(SECTIONS),
        folder=lambda wildcards: PATHS.figures(),
    shell:
        step(
            "index --profile {params.profile} --sections {params.sections:q} "
            "--folder {params.folder}"
        )
