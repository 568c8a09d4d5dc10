"""The report opens anywhere: no request leaves a page, every link leads somewhere."""

import json
import re
import shutil
from html import unescape
from html.parser import HTMLParser

import pytest

from bnblind.pipeline.adoption import shown as whole_profile
from bnblind.pipeline.artifacts import artifacts
from bnblind.pipeline.configuration.schema import datasets, read_yaml
from bnblind.pipeline.discovery import experiments
from tests.helpers.clones import ROOT, Clone
from tests.helpers.machines import namespace

SMOKE = read_yaml(ROOT / "config/smoke.yaml") | {"root": "."}
PAGES = [
    artifact.path
    for artifact in artifacts(SMOKE, experiments().values(), datasets())
    if artifact.path.endswith(".html")
]


class References(HTMLParser):
    """What a page loads (``src``, stylesheets, scripts) and what it links to."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.linked: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.loaded += [v for v in (values.get("src"),) if v]
        if tag == "link":
            self.loaded.append(values["href"] or "")
        if tag == "a":
            self.linked.append(values["href"] or "")
        if tag == "img":
            assert values.get("alt"), "an image without a description"

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def references(clone: Clone, page: str) -> References:
    parsed = References()
    parsed.feed((clone.path / page).read_text())
    return parsed


@pytest.mark.parametrize("page", PAGES)
def test_every_reference_is_a_file_of_the_report(first: Clone, page: str) -> None:
    found = references(first, page)
    folder = (first.path / page).parent
    pictures = [src for src in found.loaded if src.endswith(".svg") or "svg+xml" in src]
    plain = ("claims.html", "glossary.html", "explore.html")
    assert pictures or page.endswith(plain), "only these pages are without a picture"
    for target in found.loaded:
        assert target.startswith("data:") or (folder / target).is_file(), target
    for target in found.linked:
        known = target.startswith(("https://arxiv.org/", "https://doi.org/", "#"))
        known = known or target.endswith("receipt.html")  # which is made of the finished run
        assert known or (folder / target.partition("#")[0]).is_file(), target


def test_the_index_shows_every_claim_and_leads_to_every_experiment(first: Clone) -> None:
    found = references(first, "reports/index.html")
    pages = {f"pages/{path.name}" for path in (first.path / "reports/pages").glob("*.html")}
    assert pages <= {target.partition("#")[0] for target in found.linked}
    rows = json.loads((first.path / "reports/claims.json").read_text())
    text = " ".join(found.texts)
    for row in rows:
        if "." not in row["id"]:
            assert row["claim"] in text
            assert f"pages/claims.html#{row['id']}" in found.linked


def test_the_ledger_of_seeds_that_judge_nothing_says_so(first: Clone) -> None:
    """The smoke profile's seeds are 0: nothing is judged but what it takes over from `practice`,
    and `bnblind verify` fails.
    """
    rows = json.loads((first.path / "reports/claims.json").read_text())
    own = [row for row in rows if row["id"].split(".")[0] != "C12"]
    assert {row["verdict"] for row in own} == {"without a number"}
    assert all(row["seeds"] == [] for row in own)
    taken = [row for row in rows if row["id"].startswith("C12.")]
    assert all(row["seeds"] == [50, 51, 52, 53, 54] for row in taken)
    code, printed = first.attempt("env", "PYTHONPATH=src", "python", "-m", "bnblind", "verify")
    assert code == 1
    assert "C1.blocked is required and is without a number" in printed


def test_beside_each_figure_lie_its_formats_and_numbers(first: Clone) -> None:
    figures = first.path / "reports/figures"
    stems = {file.relative_to(figures).with_suffix("") for file in figures.rglob("*.csv")}
    assert len(stems) >= 5
    for file in figures.rglob("*.*"):
        stem = str(file.relative_to(figures)).removesuffix(file.suffix)
        assert all(
            (figures / f"{stem}{s}").stat().st_size for s in (".svg", ".pdf", ".png", ".csv")
        )


RAW = re.compile(r"[\w.-]*[^\W_]_\w[\w.-]*|\b\d+v\d+\b|\blr\b|\b(?:purity|foreign|digits)-\w+")
"""Words of the configuration, as they stand there."""
TO_COPY = r"<(script|style|pre)\b.*?</\1>"
"""Parts of a page that show code."""


@pytest.mark.parametrize("page", [page for page in PAGES if "glossary" not in page])
def test_no_page_shows_a_raw_name(first: Clone, page: str) -> None:
    """But those of claims, theorems and functions, by which they are found."""
    text = re.sub(TO_COPY, "", (first.path / page).read_text(), flags=re.DOTALL)
    words = {*RAW.findall(unescape(re.sub("<[^>]*>", " ", text)))}
    ledger = json.loads((first.path / "reports/claims.json").read_text())
    known = {name for row in ledger for name in (row["id"], *row["theorem"])}
    assert not [word for word in words - known if not word.startswith("bnblind.")]


def test_no_figure_shows_a_raw_name_and_its_text_is_text(first: Clone) -> None:
    for figure in (first.path / "reports/figures").rglob("*.svg"):
        texts = re.findall(r"<text[^>]*>(.*?)</text>", figure.read_text(), re.DOTALL)
        assert texts or "samples" in figure.stem, figure
        assert not [text for text in texts if RAW.search(re.sub("<[^>]*>", "", text))], figure


def test_main_figures_stand_on_the_first_page_and_others_in_supplements(first: Clone) -> None:
    """Each once."""
    index = (first.path / "reports/index.html").read_text()
    config = whole_profile(SMOKE, experiments().values()).config
    for experiment in experiments().values():
        if (page := experiment.page) is None or not experiment.runs_in(config):
            continue
        assert {*page.supplement} <= {*page.figures}
        text = (first.path / f"reports/pages/{experiment.name}.html").read_text()
        above, _, below = text.partition('id="supplement"')
        main = experiment.main_stems(config)
        for stem in experiment.stems(config):
            assert index.count(f'src="figures/{stem}.svg"') == (stem in main), stem
            assert f'id="{stem}"' in (above if stem in main else below), stem


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=str)
def test_notebooks_are_stored_without_outputs(notebook) -> None:
    cells = json.loads(notebook.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
    assert any("parameters" in cell["metadata"].get("tags", []) for cell in code)


def test_the_picture_of_the_rules_is_that_of_the_rules(workspace: Clone) -> None:
    """The README and the report show docs/images/rulegraph.svg; `make pictures` refreshes it."""
    drawn, quick = workspace.path / "drawn.svg", "config/config.yaml"
    shutil.copyfile(ROOT / quick, workspace.path / quick)
    pipe = f"snakemake --rulegraph --quiet all | python scripts/rulegraph.py {drawn}"
    workspace.run("bash", "-c", f"export PYTHONPATH=src; {pipe}")
    assert drawn.read_bytes() == (ROOT / "docs/images/rulegraph.svg").read_bytes()


def test_snakemakes_own_report_shows_each_figure_and_page_with_its_caption(
    finished: Clone,
) -> None:
    """Made without a network, where one can be taken away."""
    finished.run(*namespace("--net"), "snakemake", "--report", "report.html")
    text = (finished.path / "report.html").read_text()
    found = {}
    for name in ("categories", "results"):
        line = re.search(rf'<script id="{name}">\n *var {name} = (.*);\n', text)
        assert line is not None
        found[name] = json.loads(line[1])
    by_title = {title: set(*parts.values()) for title, parts in found["categories"].items()}
    config = whole_profile(SMOKE, experiments().values()).config
    for experiment in experiments().values():
        if (page := experiment.page) is None or not experiment.runs_in(config):
            continue
        shown = by_title[experiment.title]
        expected = {
            f"reports/figures/{stem}.svg": name for stem, name in experiment.stems(config).items()
        } | {f"reports/pages/{experiment.name}.html": "page"}
        assert shown == {*expected}
        for path, name in expected.items():
            result = found["results"][path]
            assert result["labels"]["shows"] == name
            caption = " ".join(unescape(result["caption"]).split())
            for captioned, words in page.captions.items() if name != "page" else ():
                assert f"<strong>{captioned}</strong>: {words}" in caption
            assert result["data_uri"].startswith("data:")
            # An empty label beside another one is a switch to Snakemake: then its page breaks.
            assert all(result["labels"].values())
    others = {path for shown in by_title.values() for path in shown if "/pages/" in path}
    assert others == {page for page in PAGES if "/pages/" in page}
