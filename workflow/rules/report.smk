# The pages: a notebook of each experiment that has one, the ledger of claims, the first page.

SHOWN = {name: e for name, e in EXPERIMENTS.items() if e.page}
READING = "To read along"

for name, experiment in SHOWN.items():
    page_rule = experiment.makes_page
    page_inputs = experiment.page_inputs(*WHOLE.view(experiment, PATHS))

    rule:
        name:
            page_rule
        input:
            flat(page_inputs),
            code=code_of_page(name),
            notebook=f"notebooks/{name}.ipynb",
        output:
            *figures_of(experiment),
            executed=kept(PATHS.notebook(name)),
        log:
            PATHS.log(page_rule),
        resources:
            **asked(page_rule),
        params:
            **shared(page_rule),
            made_by=page_rule,
            captions=experiment.page.captions,
            parameters=json.dumps(WHOLE.parameters(experiment, PATHS)),
        shell:
            step(
                "notebook --rule {params.made_by:q} --parameters {params.parameters:q}"
            )


ORDER = [None, *([name, e.title] for name, e in SHOWN.items()), None]
PLACE = {name: place for place, name in enumerate(SHOWN, 1)}


rule render:
    input:
        code=code_of("render"),
        templates=templates("page.html.j2"),
        executed=PATHS.notebook("{name}"),
        terms="docs/glossary.md",
    output:
        page=reported(
            PATHS.page("{name}"), lambda wildcards: SHOWN[wildcards.name].title, "page"
        ),
    log:
        PATHS.log("render", "{name}"),
    wildcard_constraints:
        name="|".join(SHOWN),
    localrule: True
    resources:
        **asked("render"),
    params:
        **shared("render", "{name}"),
        captions={"page": "all figures of the experiment, with tables and text."},
        adopted=lambda wildcards: json.dumps(WHOLE.marks(SHOWN[wildcards.name])),
        before=lambda wildcards: json.dumps(ORDER[PLACE[wildcards.name] - 1]),
        after=lambda wildcards: json.dumps(ORDER[PLACE[wildcards.name] + 1]),
    shell:
        step(
            "render --adopted {params.adopted:q} --before {params.before:q} "
            "--after {params.after:q}"
        )


rule reading:
    input:
        code=code_of("reading"),
        templates=templates("explore.html.j2", "glossary.html.j2", "page.html.j2"),
        terms="docs/glossary.md",
    output:
        glossary=reported(PATHS.page("glossary"), READING, "glossary"),
        explorable=reported(PATHS.page("explore"), READING, "a batch to try"),
    log:
        PATHS.log("reading"),
    localrule: True
    resources:
        **asked("reading"),
    params:
        **shared("reading"),
        captions={
            "glossary": "the words that the pages use.",
            "a batch to try": "what batch norm blocks of a gradient that one chooses.",
        },
    shell:
        step("reading")


TABLES = {
    a.path: a.owner or config["profile"]
    for a in ARTIFACTS
    if (a.kind, a.stage) == ("table", "analysed")
}
CLAIMS = "The claims, and how the results came about"


rule claims:
    input:
        code=code_of("claims"),
        templates=templates("claims.html.j2"),
        terms="docs/glossary.md",
        claims="config/claims.yaml",
        findings="config/findings.yaml",
        schema=[
            f"workflow/schemas/{name}.schema.yaml" for name in ("claims", "findings")
        ],
        proofs="proofs/record.json",
        sources=[*PROOFS, *PROOFS_CHECK],
        tables=[*TABLES],
    output:
        ledger=kept(PATHS.ledger()),
        verdicts=kept(PATHS.verdicts()),
        told=kept(PATHS.findings()),
        macros=kept(PATHS.macros()),
        page=reported(PATHS.page("claims"), CLAIMS, "page"),
    log:
        PATHS.log("claims"),
    localrule: True
    resources:
        **asked("claims"),
    params:
        **shared("claims"),
        captions={"page": "of each claim its rows: number, condition and verdict."},
        profile=config["profile"],
        kinds=lambda wildcards: judged_tables(DECLARED.values()),
        owners=json.dumps(TABLES),
        results=lambda wildcards: PATHS.results(),
    shell:
        step(
            "claims --results {params.results:q} --kinds {params.kinds:q} --profile {params.profile:q} "
            "--owners {params.owners:q}"
        )


rule about:
    input:
        code=code_of("about"),
        templates=templates("about.html.j2"),
        graph="docs/images/rulegraph.svg",
        citation="CITATION.cff",
    output:
        page=reported(PATHS.page("pipeline"), CLAIMS, "rules and configuration"),
    log:
        PATHS.log("about"),
    localrule: True
    resources:
        **asked("about"),
    params:
        **shared("about"),
        captions={"rules and configuration": "the graph of rules, and the profile."},
        settings=json.dumps(config),
    shell:
        step("about --settings {params.settings:q}")


SECTIONS = [
    {
        "page": name,
        "title": e.title,
        "sentence": e.page.sentence,
        "main": e.main_stems(WHOLE.view(e, PATHS)[0]),
        "of": "" if name in RUNNING else ", ".join(WHOLE.marks(e)),
    }
    for name, e in SHOWN.items()
]


rule index:
    input:
        [PATHS.page(name) for name in SHOWN],
        code=code_of("index"),
        templates=templates("index.html.j2"),
        terms="docs/glossary.md",
        ledger=PATHS.ledger(),
        findings=PATHS.findings(),
        figures=[
            PATHS.figure(stem)[0]
            for e in SHOWN.values()
            for stem in e.stems(WHOLE.view(e, PATHS)[0])
        ],
        manifests=[PATHS.manifest(dataset) for dataset in config["data"]],
    output:
        index=kept(PATHS.index()),
    log:
        PATHS.log("index"),
    localrule: True
    resources:
        **asked("index"),
    params:
        **shared("index"),
        profile=config["profile"],
        sections=json.dumps(SECTIONS),
        folder=lambda wildcards: PATHS.figures(),
    shell:
        step(
            "index --profile {params.profile:q} --sections {params.sections:q} "
            "--folder {params.folder:q}"
        )
