"""Files: all or nothing, nothing half-written, the same bytes for the same content."""

import errno
import json
import os
from pathlib import Path

import pandas as pd
import pytest
import safetensors.torch
import torch

from bnblind import BadInput
from bnblind.pipeline.formats.files import json_bytes, publish
from bnblind.pipeline.formats.tables import read_table, table_bytes
from bnblind.pipeline.formats.tensors import read_tensors, tensors_bytes

TENSORS = {"b": torch.arange(6.0).view(2, 3), "a": torch.tensor([1, 2], dtype=torch.int64)}
DESCRIPTION = {"seeds": [0, 1], "name": "x"}
TABLE = pd.DataFrame({"norm": ["bn", "ln"], "epoch": [1, 2], "value": [0.1, float("nan")]})


def files_in(folder: Path) -> dict[str, bytes]:
    """Content by name; of a link only that it is there: reading /dev/full never ends."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or path.is_file()]
    return {path.name: b"link" if path.is_symlink() else path.read_bytes() for path in found}


def full_disk(path: Path) -> None:
    """Let the kernel refuse, with ENOSPC, every byte that is written for ``path``."""
    path.with_name(f".{path.name}.partial").symlink_to("/dev/full")


def test_publish_writes_all_files_and_leaves_nothing_beside_them(tmp_path):
    publish({tmp_path / "a": b"1", tmp_path / "new/b": b"2"})
    publish({tmp_path / "a": b"3"})
    assert files_in(tmp_path) == {"a": b"3", "b": b"2"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("size", [1, 10**6])
def test_no_space_left_names_the_file_and_keeps_the_old_one(tmp_path, size):
    target = tmp_path / "weights"
    target.write_bytes(b"old")
    full_disk(target)
    with pytest.raises(OSError, match=f"cannot write {target}: No space left") as error:
        publish({target: b"x" * size})
    assert error.value.errno == errno.ENOSPC
    assert files_in(tmp_path) == {"weights": b"old"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_no_file_is_replaced_when_one_of_them_has_no_space(tmp_path):
    paths = [tmp_path / name for name in ("a", "b", "c")]
    for path in paths:
        path.write_bytes(b"old")
    full_disk(paths[1])
    with pytest.raises(OSError, match=r"cannot write .*b: No space left"):
        publish(dict.fromkeys(paths, b"new"))
    assert files_in(tmp_path) == {"a": b"old", "b": b"old", "c": b"old"}


def test_no_file_is_replaced_when_a_folder_cannot_be_made(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "no folder").write_bytes(b"a file")
    with pytest.raises(OSError, match="no folder"):
        publish({tmp_path / "a": b"new", tmp_path / "no folder/b": b"new"})
    assert files_in(tmp_path) == {"a": b"old", "no folder": b"a file"}


def test_content_is_on_disk_before_it_is_moved_into_place(tmp_path, monkeypatch):
    """A crash after the move must not show an empty file: every fsync precedes every replace."""
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda *a: (calls.append("replace"), replace(*a)))
    publish({tmp_path / "a": b"1", tmp_path / "b": b"2"})
    assert calls == ["fsync", "fsync", "replace", "replace"]


def test_tensors_come_back_with_their_description(tmp_path):
    publish({tmp_path / "t": tensors_bytes(TENSORS, DESCRIPTION)})
    tensors, description = read_tensors(tmp_path / "t")
    assert description == DESCRIPTION
    assert tensors.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert torch.equal(tensors[name], tensor)
        assert tensors[name].dtype == tensor.dtype


def test_a_view_is_written_as_it_is_seen(tmp_path):
    view = TENSORS["b"].T
    publish({tmp_path / "t": tensors_bytes({"view": view}, {})})
    assert torch.equal(read_tensors(tmp_path / "t")[0]["view"], view)


def test_same_content_gives_the_same_bytes():
    """Also when the description's keys or the tensors come in another order."""
    backwards = dict(reversed(DESCRIPTION.items()))
    clones = {name: TENSORS[name].clone() for name in reversed(TENSORS)}
    assert tensors_bytes(TENSORS, DESCRIPTION) == tensors_bytes(clones, backwards)
    assert table_bytes(TABLE) == table_bytes(TABLE.copy())
    assert table_bytes(TABLE) == table_bytes(TABLE.set_index(pd.Index([7, 3])))


def test_another_content_gives_other_bytes():
    assert tensors_bytes(TENSORS, {}) != tensors_bytes(TENSORS, DESCRIPTION)
    assert table_bytes(TABLE) != table_bytes(TABLE.assign(value=0.2))


def test_a_table_comes_back_and_names_no_version_of_pandas(tmp_path):
    content = table_bytes(TABLE)
    publish({tmp_path / "t": content})
    pd.testing.assert_frame_equal(read_table(tmp_path / "t"), TABLE)
    assert b"pandas" not in content


def test_json_refuses_what_json_cannot_hold():
    assert json.loads(json_bytes({"a": 1.5})) == {"a": 1.5}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"a": float("nan")})


SEALED = {
    "tensors": (tensors_bytes(TENSORS, DESCRIPTION), read_tensors),
    "table": (table_bytes(TABLE), read_table),
}


@pytest.mark.parametrize("kept", [0, 4, 8, 100, -1])
@pytest.mark.parametrize("kind", SEALED)
def test_a_truncated_file_is_refused(tmp_path, kind, kept):
    content, read = SEALED[kind]
    path = tmp_path / "truncated"
    path.write_bytes(content[:kept])
    with pytest.raises(BadInput, match=f"{path} was altered or cut off: .*; delete it and call"):
        read(path)


@pytest.mark.parametrize("kind", SEALED)
def test_a_file_with_any_byte_altered_is_refused(tmp_path, kind):
    """Also one of the hash itself, which a reader of the format would not notice."""
    content, read = SEALED[kind]
    path = tmp_path / "altered"
    for place in range(len(content)):
        altered = bytearray(content)
        altered[place] ^= 1 << place % 8
        path.write_bytes(altered)
        with pytest.raises(BadInput, match="was altered or cut off"):
            read(path)
    path.write_bytes(content)
    read(path)


@pytest.mark.parametrize("kind", SEALED)
def test_a_file_without_a_seal_is_refused(tmp_path, kind):
    """Such as one that another program wrote."""
    path = tmp_path / "other"
    if kind == "table":
        TABLE.to_parquet(path)
    else:
        safetensors.torch.save_file(TENSORS, path)
    with pytest.raises(BadInput, match="without the hash that its writer left in it"):
        SEALED[kind][1](path)


@pytest.mark.parametrize("kind", SEALED)
def test_other_programs_read_what_is_sealed(tmp_path, kind):
    path = tmp_path / "sealed"
    path.write_bytes(SEALED[kind][0])
    if kind == "table":
        pd.testing.assert_frame_equal(pd.read_parquet(path), TABLE)
    else:
        assert torch.equal(safetensors.torch.load_file(path)["b"], TENSORS["b"])
