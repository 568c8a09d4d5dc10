"""The step ``list_weights``: every file with what it holds, and none that lacks something."""

import json
from pathlib import Path
from typing import Any

import pytest

from bnblind import BadInput
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes
from bnblind.pipeline.steps import list_weights
from tests.steps.conftest import call, hashes


def listing(folder: Path, kinds: list[str], weights: list[Path]) -> dict[str, Any]:
    call(list_weights, kinds=kinds, weights=weights, listing=folder / "listing")
    return json.loads((folder / "listing").read_text())


def test_the_listing_holds_every_file_with_what_was_kept(
    networks: Path, flows: Path, tmp_path: Path
) -> None:
    """Of networks several epochs, of a flow the best one."""
    files = [networks / "weights", flows / "weights"]
    found = listing(tmp_path, ["networks", "flows"], files)
    assert list(found) == [str(path) for path in files]
    for path in files:
        assert found[str(path)]["sha256"] == hashes(path.parent)["weights"]
        assert found[str(path)]["bytes"] == path.stat().st_size
    assert found[str(files[0])]["epochs"] == {
        "label-lr0.01": {"seed3": [0, 1, 2], "seed4": [0, 1, 2]},
        "random-lr0.01": {"seed3": [0, 2]},
    }
    of_flows = found[str(files[1])]["epochs"]
    assert {key: [*seeds] for key, seeds in of_flows.items()} == {
        "9v8-label": ["seed3", "seed4"],
        "1v0-label": ["seed4"],
    }
    assert all(len(epochs) == 1 for seeds in of_flows.values() for epochs in seeds.values())


@pytest.mark.parametrize(
    ("kind", "lost"),
    [
        *(("networks", lost) for lost in ("random-lr0.01/", "random-lr0.01/seed3/epoch002/")),
        *[("networks", "label"), ("flows", "9v8-label/seed3")],
    ],
)
def test_weights_that_are_not_there_are_missed(
    kind: str, lost: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tensors, description = read_tensors(request.getfixturevalue(kind) / "weights")
    kept = {name: tensor for name, tensor in tensors.items() if not name.startswith(lost)}
    assert 0 < len(kept) < len(tensors)
    (tmp_path / "weights").write_bytes(tensors_bytes(kept, description))
    with pytest.raises(BadInput, match="its settings promise"):
        listing(tmp_path, [kind], [tmp_path / "weights"])
    assert not (tmp_path / "listing").exists()
