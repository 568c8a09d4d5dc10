import json
from pathlib import Path

from snakemake.jobs import Job

from bnblind.pipeline.closure import import_closure

shell.prefix("export PYTHONPATH=src; ")


def with_failures_remembered(postprocess):
    """Have Snakemake run a failed job again, whatever becomes of the rest of the run.

    Outputs are marked `update`, so those of a failed job are an earlier run's. Snakemake (9.27)
    restores them and then records them as made from the present inputs and parameters; marked
    as incomplete, they do not pass for up to date.
    """

    async def remembering(job, *args, error=False, **options):
        await postprocess(job, *args, error=error, **options)
        if error:
            job.dag.workflow.persistence.started(job)

    return remembering


Job.postprocess = with_failures_remembered(Job.postprocess)

check_config(config)

DATASETS = schema.read_yaml(schema.DATASETS)
JOBS = cells.training_jobs(config)
NUMERICS = [config["numerics"], config["numeric_threads"]]

MODEL_FILE = "data/models/classification/{grid}/{norm}.safetensors"
RESULT_FILE = "data/results/classification/{grid}/{norm}.parquet"

PROOFS = sorted(map(str, Path("proofs").glob("*.v")))
PROOFS_CHECK = [
    *sorted(map(str, Path("proofs").glob("*.py"))),
    "proofs/mutations.toml",
    "proofs/_CoqProject",
]
PROOFS_RECORD = "proofs/record.json"

FLOW_JOBS = cells.flow_jobs(config)
FLOW_FILE = "flows/{grid}/{norm}-{coupling_norm}"
FLOW_MODEL_FILE = f"data/models/{FLOW_FILE}.safetensors"
FLOW_RESULT_FILE = f"data/results/{FLOW_FILE}.parquet"
FLOW_SAMPLES_FILE = f"data/results/{FLOW_FILE}-samples.safetensors"


wildcard_constraints:
    dataset="[a-z0-9_]+",
    grid="[a-z][a-z0-9-]*",
    norm="[a-z][a-z0-9_]*",
    coupling_norm="[a-z][a-z0-9_]*",
    sweep="|".join(cells.SWEEPS),


def at(path):
    """A path below the profile's root."""
    return path if config["root"] == "." else f"{config['root']}/{path}"


def step(command):
    """The shell command of a step: logged, and shown where it fails, whatever is quiet."""
    return (
        f"python -m bnblind.pipeline {command} --numerics {{params.numerics}} > {{log}} 2>&1"
        " || {{ tail -n 40 {log} >&2; exit 1; }}"
    )


def code_of(name):
    """Every file of the package that a step imports."""
    entries = ["src/bnblind/pipeline/__main__.py", f"src/bnblind/pipeline/{name}.py"]
    return import_closure(entries)


def templates(*names):
    return [f"src/bnblind/pipeline/templates/{name}" for name in names]


def code_of_notebook(name):
    """The notebook, what it imports, and the step that executes it."""
    executing = code_of("notebook")
    shown = templates("page.html.j2", "style.css")
    return sorted({*executing, *shown, *import_closure([f"notebooks/{name}.ipynb"])})


def raw_file(dataset):
    return at(f"data/raw/{dataset}/{DATASETS[dataset]['file']}")


def prepared_of(grid):
    dataset = config["classification"][grid]["dataset"]
    return at(f"data/prepared/{dataset}.safetensors")


def kept(*paths):
    """Outputs that stay as they are when the job that would replace them fails."""
    return [update(path) for path in paths]


def figure_files(*stems):
    formats = ("svg", "pdf", "png", "csv")
    return [
        at(f"reports/figures/{stem}.{suffix}") for stem in stems for suffix in formats
    ]


def has_controls(grid):
    return any(norm.startswith("bn_") for norm in grid["norms"])


def result_tables():
    tables = cells.result_tables(config)
    return [at(f"data/results/{table}.parquet") for table in tables]


def classification_figures():
    stems = set()
    for grid in config["classification"].values():
        for lr in grid["learning_rates"]:
            stem = f"classification/{grid['dataset']}-{grid['model']}-lr{float(lr)}"
            stems |= {stem, *([f"{stem}-controls"] if has_controls(grid) else [])}
    figures = [
        f"{stem}-{figure}" for stem in sorted(stems) for figure in ("curves", "final")
    ]
    rates = [config["classification"][grid] for grid in config["rates"]]
    return figures + sorted(
        {f"classification/{grid['dataset']}-{grid['model']}-rates" for grid in rates}
    )


def purity_figures():
    swept = [config["classification"][grid] for grid in config["purity"]]
    return sorted(
        f"purity/{grid['dataset']}-{grid['model']}-lr{float(lr)}"
        for grid in swept
        for lr in grid["learning_rates"]
    )


def derivatives_figures():
    stems = ["derivatives/positions"]
    for grid in config["derivatives"]:
        names = ["norms", "blocked"]
        names += ["controls"] if has_controls(config["classification"][grid]) else []
        stems += [f"derivatives/{grid}-{name}" for name in names]
    return stems


def features_figures():
    return [
        f"features/{grid}-lr{float(lr)}-{name}"
        for grid in config["features"]
        for lr in config["classification"][grid]["learning_rates"]
        for name in ("measures", "tsne")
    ]


def prepared_files():
    raw = [raw_file(dataset) for dataset in config["data"]]
    prepared = expand(
        at("data/prepared/{dataset}.{suffix}"),
        dataset=config["data"],
        suffix=["safetensors", "json"],
    )
    return raw + prepared


def weights_of(grid):
    return [at(MODEL_FILE.format(**job)) for job in JOBS if job["grid"] == grid]


def trained_files():
    return [
        at(pattern.format(**job))
        for job in JOBS
        for pattern in (MODEL_FILE, RESULT_FILE)
    ]


def prepared_for_flow(grid):
    dataset = config["flows"][grid]["dataset"]
    return at(f"data/prepared/{dataset}.safetensors")


def flow_datasets():
    return sorted({grid["dataset"] for grid in config["flows"].values()})


def flow_files():
    patterns = (FLOW_MODEL_FILE, FLOW_RESULT_FILE, FLOW_SAMPLES_FILE)
    return [at(pattern.format(**job)) for job in FLOW_JOBS for pattern in patterns]


def flow_figures():
    """A set of figures for each data set, coupling and coupling norm; samples for each pair."""
    stems = set()
    for grid in config["flows"].values():
        for coupling_norm in grid["coupling_norms"]:
            stem = f"flow/{grid['dataset']}-{grid['coupling']}-{coupling_norm}"
            stems |= {f"{stem}-{name}" for name in ("curves", "interpolation", "gap")}
            stems |= {f"{stem}-samples-{a}v{b}" for a, b in grid["pairs"]}
    return sorted(stems)
