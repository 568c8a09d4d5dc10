"""``make notebook``: a page's notebook, live, is what the pipeline executed."""

from dataclasses import replace
from pathlib import Path

from tests.helpers.clones import Clone

OPEN = ("env", "PYTHONPATH=src", "python", "-m", "bnblind", "notebook", "purity", "--with")


def below(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_executed_live_it_draws_the_same_and_leaves_the_report(
    finished: Clone, tmp_path: Path
) -> None:
    """To the last byte; the user's own Jupyter gets nothing of it."""
    clone = replace(finished, environment=finished.environment | {"HOME": str(tmp_path / "home")})
    before = clone.hashes()
    clone.run(*OPEN, "jupyter-execute --inplace")
    live = clone.path / "runs/live/quick"
    assert below(live / "figures/purity") == below(clone.path / "reports/figures/purity")
    assert clone.hashes() == before
    assert not [*tmp_path.rglob("home/**/kernel.json")]
    notebook = live / "purity.ipynb"
    assert "data:image/svg+xml" in notebook.read_text()


def test_what_was_written_into_it_stays_until_it_is_deleted(finished: Clone) -> None:
    notebook = finished.path / "runs/live/quick/purity.ipynb"
    told = finished.run(*OPEN, "true")
    assert told == "true opens runs/live/quick/purity.ipynb; delete it to begin anew\n"
    assert "data/results/purity.parquet" in notebook.read_text()
    notebook.write_text("mine")
    finished.run(*OPEN, "true")
    assert notebook.read_text() == "mine"
    notebook.unlink()
    finished.run(*OPEN, "true")
    assert "data/results/purity.parquet" in notebook.read_text()
    code, printed = finished.attempt(*OPEN, "no-such-program")
    assert code == 1
    assert printed.startswith(
        "error: there is no program no-such-program; `pip install jupyterlab`"
    )
    (finished.path / "reports/pages/purity.ipynb").unlink()
    code, printed = finished.attempt(*OPEN, "true")
    assert printed == "error: there is no reports/pages/purity.ipynb; `make reproduce` makes it\n"


def test_it_exits_as_the_program_does(finished: Clone) -> None:
    assert finished.attempt(*OPEN, "false")[0] == 1
