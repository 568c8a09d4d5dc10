"""A failing job: one clear error, the previous results intact, and recovery."""

import signal
import time

import pytest

from tests.pipeline.clones import Clone


def recover(clone: Clone, before: dict[str, str]) -> None:
    """With the cause removed, the pipeline finishes with the bytes it had before."""
    clone.run("snakemake", "--cores", "2", "--quiet", "all")
    assert clone.hashes() == before
    assert clone.planned() == {}


def test_a_changed_raw_file_is_refused_and_the_prepared_data_stay(second: Clone) -> None:
    raw = second.path / "data/raw/digits/digits.csv.gz"
    content = raw.read_bytes()
    before = second.hashes()
    changed = bytearray(content)
    changed[1000] ^= 1
    raw.write_bytes(bytes(changed))
    code, printed = second.attempt("snakemake", "--cores", "1")
    assert code != 0
    assert "sha256 is" in printed
    assert "registered is 09f66e6d" in printed
    assert "prepare_data" in second.planned()
    raw.write_bytes(content)
    assert second.hashes() == before
    recover(second, before)


def test_a_clone_runs_its_own_code_and_a_failing_step_keeps_the_old_page(second: Clone) -> None:
    """Both clones share one installed environment, whose package is a third tree."""
    before = second.hashes()
    file, line = "src/bnblind/pipeline/index.py", "    page = fill("
    second.edit(file, line, f"    raise OSError('code of the second clone')\n{line}")
    code, printed = second.attempt("snakemake", "--cores", "1")
    assert code != 0
    assert "error: code of the second clone" in printed
    assert second.hashes() == before
    assert second.planned() == {"index": 1}
    second.edit(file, "    raise OSError('code of the second clone')\n", "")
    recover(second, before)


def test_a_diverging_run_names_itself_and_is_tried_again(second: Clone) -> None:
    """The old results stay, but they do not pass for those of the new learning rate's settings."""
    before = second.hashes()
    second.edit("config/config.yaml", "weight_decay: 0.01", "weight_decay: 1.0e+30")
    code, printed = second.attempt("snakemake", "--cores", "2", "--keep-going", "--", "trained")
    assert code != 0
    assert "error: digits head bn random lr 0.01 seed 0 epoch 1 step" in printed
    assert second.hashes() == before
    assert second.planned()["train"] == 4
    second.edit("config/config.yaml", "weight_decay: 1.0e+30", "weight_decay: 0.01")
    recover(second, before)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("norms: [bn, ln]", "norms: [bm, ln]", "digits-head.norms[0]: found 'bm'; allowed: none"),
        ("epochs: 1", "epoch: 1", "classification.digits-head: unknown key 'epoch'; allowed:"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(
    second: Clone, old: str, new: str, message: str
) -> None:
    before = second.hashes()
    second.edit("config/config.yaml", old, new)
    try:
        code, printed = second.attempt("snakemake", "--cores", "1")
    finally:
        second.edit("config/config.yaml", new, old)
    assert code != 0
    assert message in printed
    assert "Traceback" not in printed
    assert second.hashes() == before


def test_an_interrupted_run_leaves_nothing_half_written_and_goes_on(second: Clone) -> None:
    before = second.hashes()
    second.edit("config/config.yaml", "momentum: 0.9", "momentum: 0.8")
    process = second.start("snakemake", "--cores", "1", "--", "trained")
    time.sleep(6)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    assert process.returncode != 0
    second.edit("config/config.yaml", "momentum: 0.8", "momentum: 0.9")
    assert not list(second.path.rglob("*.partial"))
    recover(second, before)
