"""The parts of the documents that are made, not written: between markers in their files.

python scripts/documents.py             what the declarations and schemas say
python scripts/documents.py results     what a finished run found
... --check                                      exits with 1 if a document says anything else
"""

import argparse
import json
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, "src")

from bnblind.figures.classification import MODEL_NOTES, last_epochs
from bnblind.figures.naming import in_order, interval_text, networks_in, specialities
from bnblind.pipeline.adoption import shown
from bnblind.pipeline.configuration import keys
from bnblind.pipeline.configuration.check import DATASETS_SCHEMA, config_schema
from bnblind.pipeline.configuration.claims_file import SCHEMA as CLAIMS_SCHEMA
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.discovery import experiments
from bnblind.pipeline.formats.tables import read_table
from bnblind.pipeline.ledger import NO_NUMBER, REPRODUCED, UNDECIDED
from bnblind.pipeline.paths import Paths
from bnblind.review.comparison import IDENTICAL, compared, flips
from bnblind.review.runs import (
    published_run,
    read_receipt,
    read_record,
    read_settings,
    record_of,
    run_of_receipt,
)

README, CONFIG, DVC = Path("README.md"), Path("config/README.md"), Path("dvc.yaml")
MACHINES, RECEIPTS = Path("docs/machines.md"), Path("receipts")
BENCHMARKS, MEASURED = Path("docs/benchmarks.md"), Path("logs/benchmarks/engine")
SCALE, FLOWS = Path("docs/scale.md"), Path("docs/flows.md")
RESULTS, RUNNING = Path("docs/results.md"), Path("docs/running.md")
PATHS = Paths(".")
NORMS = {"none": "no norm", "bn": "BN", "ln": "LN"}
BATCHES = {
    "random": "random",
    "label": "label-pure",
    "label_shuffled": "label-pure, classes in random order",
}


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines] + [""]


def verdicts() -> str:
    ledger = json.loads(Path(PATHS.ledger()).read_text())
    rows = []
    for claim in (row for row in ledger if "." not in row["id"]):
        own = [row for row in ledger if row["id"].startswith(f"{claim['id']}.")]
        of = Counter(row["verdict"] for row in own)
        held = f"{of[REPRODUCED]}/{len(own) - of[NO_NUMBER]}"
        held += "".join(f", {of[also]} {also}" for also in (UNDECIDED, NO_NUMBER) if of[also])
        rows.append([f"{claim['id']}: {claim['claim']}", f"**{claim['verdict']}**", held])
    return "\n".join(table(["claim", "verdict", "rows that hold"], rows))


def accuracies() -> list[str]:
    """One row for each network, with what in its training is special, and kind of batch."""
    runs = read_table(Path(PATHS.table("classification")))
    final = last_epochs(runs[runs["metric"] == "test.eval.accuracy"])
    rows = []
    models = in_order(final["model"], MODEL_NOTES)
    networks = [(own["model"], specialities(own), runs) for own, runs in networks_in(final)]
    for model, told, chosen in sorted(networks, key=lambda own: (models.index(own[0]), own[1])):
        for batching in in_order(chosen["batching"], BATCHES):
            of = chosen[chosen["batching"] == batching]
            by_norm = [of.loc[of["norm"] == norm, "value"] for norm in NORMS]
            cells = [interval_text(values) if len(values) else "" for values in by_norm]
            words = BATCHES.get(batching, batching)
            rows.append([f"`{model}`{told}", words, *cells, str(of["seed"].nunique())])
    return table(["network", "batches", *NORMS.values(), "seeds"], rows)


def gaps() -> list[str]:
    runs = read_table(Path(PATHS.table("flows")))
    runs = runs[(runs["coupling"] == "mlp") & (runs["coupling_norm"] == "scalar")]
    rows = []
    for pair in runs["pair"].unique():
        for batching in ("label", "random"):
            for kind, words in (("plain", "running"), ("recalibrated", "recalibrated")):
                chosen = runs[(runs["pair"] == pair) & (runs["batching"] == batching)]
                chosen = chosen[chosen["metric"] == f"test.{kind}.gap"]
                cells = [
                    interval_text(chosen.loc[chosen["norm"] == norm, "value"], ".1f")
                    for norm in NORMS
                ]
                rows.append([pair.replace("v", " and "), BATCHES[batching], words, *cells])
    return table(["digits", "batches", "statistics", *NORMS.values()], rows)


def results() -> str:
    """What the last run found: accuracies, the flows' gaps."""
    lines = [
        "Test accuracy after the last epoch, on scikit-learn's digits, in evaluation mode: mean",
        "over all seeds (95 % t interval). The findings above average the last three epochs",
        "instead, over the seeds that judge:",
        "",
        *accuracies(),
        "Flows (RealNVP, fully connected couplings) of two classes: log-likelihood of real test",
        "images minus that of half-and-half mixtures, nats per image, with BN's running statistics",
        "and with statistics recalibrated on mixed batches, mean over the seeds (95 % t interval):",
        "",
        *gaps(),
    ]
    return "\n".join(lines)


def told(place: str) -> str:
    """What the last run found, of one place of the report's first page."""
    lines = []
    for one in json.loads(Path(PATHS.findings()).read_text()):
        if one["place"] == place:
            text = f"- **{one['title']}.** {one['big']} {one['text']}".replace("  ", " ")
            lines += textwrap.wrap(
                text, 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
            )
    return "\n".join([*lines, ""])


def experiments_table() -> str:
    """What each experiment that the default profile shows is, and where its page, notebook and
    figures lie.
    """
    config, declared, rows = read_yaml(Path("config/config.yaml")), experiments(), []
    whole = shown(config, declared.values()).config
    for name, experiment in declared.items():
        if not experiment.runs_in(whole):
            continue
        if experiment.page is None:
            where = "on the page of another experiment"
            rows.append([experiment.title, where, f"`{PATHS.table(name)}`", ""])
            continue
        stems = ", ".join(
            f"`{name}/{stem.format_map(Placeholders())}`"
            for stem in experiment.page.figures.values()
        )
        target = PATHS.page(name)
        rows.append([experiment.title, stems, f"`{target}`", f"`notebooks/{name}.ipynb`"])
    header = ["experiment", "figures below `reports/figures`", "page or table", "notebook"]
    return "\n".join(table(header, rows))


class Placeholders(dict[str, str]):
    """A field's value is its name in capitals; a group of figures that may be missing is none."""

    def __missing__(self, field: str) -> str:
        return "" if field == "group" else field.upper()


def metrics() -> str:
    """The files for `dvc metrics`."""
    files = [PATHS.metrics(name) for name, e in experiments().items() if e.metrics]
    return "".join(f"  - {file}\n" for file in [*files, PATHS.verdicts()])


def type_in_words(schema: dict[str, Any], several: bool = False) -> str:
    """What a key's value is: ``integers >= 2``."""
    if schema.get("type") == "array":
        if "minItems" in schema and schema.get("minItems") == schema.get("maxItems"):
            return f"{schema['minItems']} {type_in_words(schema['items'], True)}"
        if schema["items"].get("type") == "array":
            return f"lists of {type_in_words(schema['items'], True)}"
        return type_in_words(schema["items"], True)
    if "enum" in schema:
        return ", ".join(f"`{word}`" for word in schema["enum"])
    if "multipleOf" in schema:
        return f"multiple{'s' * several} of {schema['multipleOf']}"
    named = {"string": "text", "null": "nothing", "object": "mapping"}
    reference = schema.get("$ref", "").rpartition("/")[2]
    kind = reference or ("name" if "registered" in schema else str(schema.get("type")))
    words = named.get(kind, kind) + "s" * several
    low, high = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    if None not in (low, high):
        return f"{words} in ({low}, {high})"
    if "minimum" in schema and high is not None:
        return f"{words} in [{schema['minimum']}, {high})"
    most = schema.get("maximum")
    told_once = most in (keys.MOST, keys.SEED, keys.LARGEST)
    bounds = {">": low, ">=": schema.get("minimum"), "<=": None if told_once else most}
    told = [f"{sign} {bound}" for sign, bound in bounds.items() if bound is not None]
    return " ".join([words, " and ".join(told)]).strip()


def keys_of(schema: dict[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Key, type and meaning of all that a schema allows, including the keys of nested mappings."""
    inner = schema.get("additionalProperties")
    if isinstance(inner, dict):
        yield from keys_of(inner, f"{prefix}{schema['title']}.")
    for key, of in schema.get("properties", {}).items():
        if "properties" in of or isinstance(of.get("additionalProperties"), dict):
            yield from keys_of(of, f"{prefix}{key}.")
        else:
            yield [f"`{prefix}{key}`", type_in_words(of), of["description"]]


def keys_table(schema: dict[str, Any]) -> list[str]:
    return table(["key", "type", "meaning"], [*keys_of(schema)])


def profile_keys() -> str:
    """Every key of a profile: those of all, then a table for each experiment's section."""
    declared = experiments()
    whole = config_schema(declared.values())
    shared = {k: v for k, v in whole["properties"].items() if k not in declared}
    lines = keys_table({"properties": shared})
    for name, experiment in declared.items():
        if section := whole["properties"].get(name):
            grids = section.get("additionalProperties")
            keys = grids if isinstance(grids, dict) else section
            place = f"{name}.{section['title']}" if keys is grids else name
            lines += [f"**`{place}`** ({experiment.title}): {keys['description']}.", ""]
            lines += keys_table(keys)
    return "\n".join(lines)


def claims_keys() -> str:
    return "\n".join(keys_table(read_yaml(CLAIMS_SCHEMA)))


def datasets_keys() -> str:
    return "\n".join(keys_table(read_yaml(DATASETS_SCHEMA)["additionalProperties"]))


def receipts_table() -> str:
    """One line for each receipt: the machine, and how its files and verdicts stand to the published
    ones of its profile, by their hashes and by the ledgers.
    """
    rows = []
    for path in sorted(RECEIPTS.glob("*.json")):
        receipt, run = read_receipt(path), run_of_receipt(path)
        published = published_run(receipt["profile"])
        found = compared(run, published).values()
        identical = sum(file["verdict"] == IDENTICAL for file in found)
        moved = flips(run, published)
        so = f"overturned: {', '.join(moved)}" if moved else "verdict-identical"
        so = "bit-identical" if identical == len(found) else so
        told = [receipt["machine"][key] for key in ("processor", "libc", "torch")]
        told.insert(0, f"`{receipt['profile']}`")
        rows.append([*told, ", ".join(run.numerics), f"{identical} of {len(found)}", so])
    header = ["profile", "processor", "C library", "torch", "numerics", "files identical", "so"]
    return "\n".join(table(header, rows))


def published_jobs() -> Iterator[tuple[str, dict[str, dict[str, float]]]]:
    """The profiles that were published, and what each of their jobs used."""
    for path in sorted(Path("published").glob("*/jobs.json")):
        yield path.parent.name, json.loads(path.read_text())


def costs() -> str:
    rows = []
    for profile, jobs in published_jobs():
        seconds = [job["cpu_seconds"] for job in jobs.values()]
        files = read_record(record_of(profile)).values()
        rows.append(
            [
                *(f"`{profile}`", str(len(jobs)), f"{sum(seconds):.0f}", f"{max(seconds):.0f}"),
                f"{max(job['peak_mb'] for job in jobs.values()):.0f}",
                f"{sum(file['bytes'] for file in files) / 1e6:.0f}",
            ]
        )
    header = ["profile", "jobs", "CPU seconds", "longest job", "largest memory, MB", "disk, MB"]
    return "\n".join(table(header, rows))


def run_costs() -> str:
    """CPU seconds of a run of each grid, start of the job included."""
    declared, rows = experiments(), []
    for profile, jobs in published_jobs():
        config = read_settings(profile)["profile"]
        for name, experiment in declared.items():
            if experiment.training is None or name not in config:
                continue
            for grid, cells in experiment.training.cells(config).items():
                own = f"{experiment.trains}/{grid}/"
                used = [job["cpu_seconds"] for log, job in jobs.items() if log.startswith(own)]
                runs = sum(len(cell.seeds) for cell in cells)
                if used:
                    told = [
                        f"`{name}.{grid}`",
                        f"`{profile}`",
                        str(runs),
                        f"{sum(used) / runs:.2f}",
                    ]
                    rows.append(told)
    return "\n".join(table(["grid", "profile", "runs", "CPU seconds a run"], rows))


FLOW_MEASURES = ("plain.gap", "recalibrated.gap", "plain.auc", "recalibrated.auc")


def flows_found() -> str:
    """What the published flows say of real test images and mixtures, by the kind of statistics."""
    runs = read_table(Path("published/quick") / PATHS.table("flows"))
    runs = runs[runs["metric"].str.fullmatch(r"test\.(plain|recalibrated)\.(gap|auc)")]
    rows = []
    setting = ["pair", "coupling_norm", "batching", "norm"]
    for chosen, own in runs.groupby(setting):
        pair, coupling_norm, batching, norm = map(str, chosen)
        told = [own.loc[own["metric"] == f"test.{m}", "value"] for m in FLOW_MEASURES]
        gaps = [interval_text(values, ".1f") for values in told[:2]]
        chances = [interval_text(values, ".2f") for values in told[2:]]
        words = [pair.replace("v", " and "), BATCHES[batching], coupling_norm, NORMS[norm]]
        rows.append([*words, *gaps, *chances, str(own["seed"].nunique())])
    header = ["digits", "batches", "coupling norm", "norm", "gap", "gap, recalibrated"]
    return "\n".join(table([*header, "AUC", "AUC, recalibrated", "seeds"], sorted(rows)))


def measured(section: str) -> str:
    """What benchmarks/engine.py has measured last."""
    return (MEASURED / f"{section}.md").read_text(encoding="utf-8") + "\n"


PARTS: dict[str, dict[str, tuple[Path, Callable[[], str]]]] = {
    "declared": {
        "experiments": (RUNNING, experiments_table),
        "profile": (CONFIG, profile_keys),
        "claims": (CONFIG, claims_keys),
        "datasets": (CONFIG, datasets_keys),
        "metrics": (DVC, metrics),
        "receipts": (MACHINES, receipts_table),
        "costs": (SCALE, costs),
        "run costs": (SCALE, run_costs),
        "flows": (FLOWS, flows_found),
    },
    "results": {
        "headline": (README, partial(told, "headline")),
        "ledger": (README, verdicts),
        "results": (RESULTS, results),
        "findings": (RESULTS, partial(told, "beyond")),
    },
    "benchmarks": {
        name: (BENCHMARKS, partial(measured, name))
        for name in ("head", "vgg", "sizes", "growth", "curved", "residual", "classes", "probe")
    },
}


def with_part(text: str, name: str, part: str, comment: str, maker: str = "documents") -> str:
    """The text with ``part`` between the markers of that name, which name the script as well."""
    start, end = (
        comment.format(f"{name}: made by scripts/{maker}.py"),
        comment.format(f"end of {name}"),
    )
    before, _, rest = text.partition(start)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"error: there are no markers {start!r} and {end!r}")
    return f"{before}{start}{part}{end}{after}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="?", choices=PARTS, default="declared")
    parser.add_argument("--check", action="store_true", help="write nothing")
    args = parser.parse_args()
    for name, (file, make) in PARTS[args.parts].items():
        text = file.read_text(encoding="utf-8")
        comment = "# {}\n" if file.suffix == ".yaml" else "<!-- {} -->\n"
        part = make() if file.suffix == ".yaml" else f"\n{make()}"
        new = with_part(text, name, part, comment)
        if new != text and args.check:
            raise SystemExit(
                f"error: {file} does not say what it should of its {name}; "
                f"`python scripts/documents.py {args.parts}` rewrites it"
            )
        file.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
