# What the rules share: the checked configuration, the paths, and the command of a step.

shell.prefix("export PYTHONPATH=src; ")

# In quiet modes each job that ends is one line, how many have; Snakemake's log file has all.
UNTOLD = ("job_started", "job_finished")
if "--quiet" in sys.argv:
    for handler in logging.getLogger("snakemake.logging").handlers:
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(
                lambda record: getattr(record, "event", None) not in UNTOLD
                and record.msg != "Select jobs to execute..."
            )

PROOFS_RECORD = Paths(".").metrics("proofs")

try:
    # Where raw files lie changes no result, so no rule has it as a parameter.
    if "data_dir" in config:
        set_own_folder(config.pop("data_dir"))
    DECLARED = experiments()
    check_config(config, DECLARED.values())
    read_claims(judged_tables(DECLARED.values()))
    RUNNING = {name: e for name, e in DECLARED.items() if e.runs_in(config)}
    WHOLE = shown(config, DECLARED.values())
    EXPERIMENTS = {name: e for name, e in DECLARED.items() if e.runs_in(WHOLE.config)}
    DATASETS = schema.datasets()
    ARTIFACTS = artifacts(config, DECLARED.values(), DATASETS)
    USAGE = usage_for(config)
    TARGETS = {
        name for artifact in ARTIFACTS for name in (artifact.path, artifact.rule)
    }
    check_asked(
        sys.argv[1:],
        {"all", "report", "proofs", PROOFS_RECORD, *STAGES, *TARGETS},
    )
except BadInput as error:
    raise SystemExit(f"error: {error}") from error

PATHS = Paths(config["root"])
JOBS = {
    name: experiment.training.jobs(config)
    for name, experiment in RUNNING.items()
    if experiment.training
}
NUMERICS = [config["numerics"], config["numeric_threads"]]
PROOFS = sorted(map(str, Path("proofs").glob("*.v")))
PROOFS_CHECK = [
    *sorted(map(str, Path("proofs").glob("*.py"))),
    "proofs/mutations.toml",
    "proofs/_CoqProject",
]


wildcard_constraints:
    dataset="[a-z0-9_]+",
    grid="[a-z][a-z0-9_-]*",
    job="[a-z][a-z0-9._-]*",


def kept(path):
    """Outputs that stay as they are when the job that would replace them fails."""
    return update(path)


def reported(path, category, shows, of=""):
    """An output that `snakemake --report` shows: below its category, by what it shows and of what.
    The rule's parameter `captions` says what to see.
    """
    labels = {"shows": shows} | ({"of": of} if of else {})
    return report(
        kept(path), caption="../report/caption.rst", category=category, labels=labels
    )


def figures_of(experiment):
    """The outputs of an experiment's page that are figures; reports show them as SVG."""
    made = []
    for stem, name in experiment.stems(WHOLE.view(experiment, PATHS)[0]).items():
        svg, *others = PATHS.figure(stem)
        made.append(reported(svg, experiment.title, name, stem))
        made += map(kept, others)
    return made


def logged(command):
    """A shell command with its log, which is shown if it fails, also in Snakemake's quiet modes.

    Outputs are marked `update`, so those of a failed job are an earlier run's. Snakemake restores
    them and then records them as made from the present inputs and parameters. So the job is marked
    as failed before it starts, by a text that no other try has; success restores what was there.
    The text is a parameter of the rule: the job stays planned, no matter how it was stopped.
    """
    return (
        "cat {log:q}.failed > {log:q}.before 2> /dev/null || :; echo $$-$(date +%s%N) > {log:q}.failed; "
        f"{command} > {{log:q}} 2>&1"
        " && if [ -s {log:q}.before ]; then mv {log:q}.before {log:q}.failed;"
        " else rm {log:q}.before {log:q}.failed; fi"
        " || {{ tail -n 40 {log:q} >&2; exit 1; }}"
    )


def step(command):
    """The shell command of a step with its options."""
    options = "{params.files} --numerics {params.numerics:q}"
    return logged(f"python -m bnblind.pipeline {command} {options}")


def file_options(wildcards, input, output):
    """The options that name a step's files, quoted: what it reads, by its name, and its outputs."""
    unread = ("code", "norms", "templates", "schema", "sources")
    named = {k: v for k, v in input.items() if v and k not in unread} | dict(
        output.items()
    )
    lists = {k: [v] if isinstance(v, str) else v for k, v in named.items()}
    return " ".join(f"--{name} {shlex.join(paths)}" for name, paths in lists.items())


def failure(log):
    """The mark of the job with that log as failed; empty if it never did."""

    def mark(wildcards):
        note = Path(f"{log.format(**wildcards)}.failed")
        return note.read_text() if note.exists() else ""

    return mark


def shared(name, *wildcards):
    """Parameters of every step: how numbers are computed, the options that name files, and the
    mark of a failure.
    """
    log = PATHS.log(name, *wildcards)
    return {"numerics": NUMERICS, "files": file_options, "failed": failure(log)}


def file_of(module):
    return f"src/{module.replace('.', '/')}.py"


def code_of(name, *modules):
    """Every file of the package that a step imports; ``modules`` are those it loads by name."""
    step = f"bnblind.pipeline.steps.{name}"
    return import_closure(map(file_of, ["bnblind.pipeline.__main__", step, *modules]))


def code_of_norms(norms):
    """Code of these norms, which is loaded by name."""
    return import_closure([file_of(norm_module(norm)) for norm in norms])


def templates(*names):
    """Templates of pages and the files that all of them share."""
    folder = "src/bnblind/pipeline/formats/templates"
    return [f"{folder}/{file}" for file in (*names, "base.html.j2", "style.css")]


def asked(name):
    """Resources of a rule, from the measured use of its largest job; of a rule that was not measured
    yet, the most that any rule asks for.

    Half as much memory again and twenty times the CPU seconds, since profiles and machines differ;
    each further try has twice of both.
    """
    measured = [USAGE[name]] if name in USAGE else [*USAGE.values()]
    megabytes = round(max((used["peak_mb"] for used in measured), default=2000) * 1.5)
    seconds = max((used["longest_seconds"] for used in measured), default=600)
    minutes = 10 + round(seconds * 20) // 60
    return {
        "mem_mb": lambda wildcards, attempt: megabytes * 2 ** (attempt - 1),
        "runtime": lambda wildcards, attempt: minutes * 2 ** (attempt - 1),
    }


def computing_of(experiment):
    """The inputs of an experiment's own step, its settings, and the option that says where it keeps
    what it has computed so far; of one that reads networks, each of a grid of ``classification``.
    """
    section, code = config[experiment.name], code_of(experiment.computing.step)
    if not experiment.computing.of_networks:
        norms = code_of_norms(sorted({*experiment.computing.norms(config)}))
        return {"code": code, "norms": norms}, json.dumps(section), ""
    grids = config["classification"]
    log = PATHS.log(experiment.makes_tables, "{grid}")
    inputs = {
        "prepared": lambda wildcards: PATHS.prepared(grids[wildcards.grid]["dataset"]),
        "weights": lambda wildcards: [
            PATHS.trained("weights", "classification", wildcards.grid, job)
            for job in JOBS["classification"][wildcards.grid]
        ],
        "code": code,
        "norms": lambda wildcards: code_of_norms(grids[wildcards.grid]["norms"]),
    }
    return (
        inputs,
        lambda wildcards: json.dumps(section[wildcards.grid]),
        lambda wildcards: f"--checkpoint {shlex.quote(log.format(**wildcards))}.checkpoint",
    )


def own_grids(experiment):
    """A pattern of the grids that this profile computes; those that it shows are taken over."""
    return "|".join(config[experiment.name]) if experiment.of_grids else ""


def tables_of(experiment):
    """The outputs of the rule that makes an experiment's tables."""
    made = {name: kept(PATHS.table(table)) for name, table in experiment.tables.items()}
    metrics = {"metrics": kept(PATHS.metrics(experiment.name))}
    return made | metrics if experiment.metrics else made


def training_of(experiment):
    """The inputs of a job that trains cells of the experiment, and these cells' settings."""
    code = code_of("train", f"bnblind.experiments.{experiment.training.kind}.kind")
    jobs = JOBS[experiment.name]

    def code_of_job(wildcards):
        cells = jobs[wildcards.grid][wildcards.job]
        norms = set().union(*(cell.norms for cell in cells))
        return sorted({*code, *code_of_norms(norms)})

    def prepared(wildcards):
        return PATHS.prepared(jobs[wildcards.grid][wildcards.job][0].dataset)

    def settings(wildcards):
        cells = jobs[wildcards.grid][wildcards.job]
        return json.dumps([cell.settings() for cell in cells])

    return {"code": code_of_job, "prepared": prepared}, settings


def collected_of(experiment):
    """The tables of which an experiment's is made: of its jobs, and what others have published."""
    made = [
        artifact
        for artifact in ARTIFACTS
        if artifact.experiment == experiment.name
        and (artifact.kind, artifact.stage) == ("table", "trained")
    ]
    return {
        "cells": [artifact.path for artifact in made if not artifact.taken_from],
        "taken": [artifact.path for artifact in made if artifact.taken_from],
    }


def flat(value):
    """All paths in a parameter: a path, a list or a mapping of them."""
    if isinstance(value, str):
        return [value]
    values = value.values() if isinstance(value, dict) else value
    return [path for item in values for path in flat(item)]


def code_of_page(name):
    """The notebook, what it imports, the step that executes it, and the norms, whose facts decide
    what is drawn together.
    """
    executing = code_of("notebook")
    norms = code_of_norms(schema.registered_names("norm"))
    return sorted({*executing, *norms, *import_closure([f"notebooks/{name}.ipynb"])})
