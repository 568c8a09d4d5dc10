"""Raw files: from which source, and refused unless their content is the registered one."""

import gzip
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bnblind import BadInput
from bnblind.pipeline.configuration.schema import read_yaml
from bnblind.pipeline.formats.prepared import read_dataset
from bnblind.pipeline.sources import FOLDER, TRIES, fetch, obtain, set_own_folder
from bnblind.pipeline.steps import export_data, prepare_data
from tests.conftest import ROOT
from tests.helpers.cifar import archive
from tests.steps.conftest import call

CONTENT = bytes(range(256)) * 40
CIFAR = archive(count=20)
PAGE = b"<!DOCTYPE html><html>Please log in</html>"


def entry(*sources: str, content: bytes = CONTENT) -> dict[str, Any]:
    found = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {**found, "sources": list(sources)}


class Answers(BaseHTTPRequestHandler):
    """What the path asks for; of one that ends in ``flaky`` the first two answers break off."""

    broken = 0

    def do_GET(self) -> None:
        bodies = {"/page": PAGE, "/gz": gzip.compress(CONTENT), "/cifar": CIFAR}
        body = bodies.get(self.path.removesuffix("-flaky"), CONTENT)
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.path == "/cut" or (self.path.endswith("flaky") and Answers.broken < 2):
            Answers.broken += 1
            body = body[:100]
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def address() -> Iterator[str]:
    Answers.broken = 0
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def nothing_tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place without DVC, and no folder of the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(FOLDER, raising=False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # pooch waits between its tries


def get(found: dict[str, Any], file: str = "images") -> tuple[bytes, str]:
    return obtain("cats", file, found, f"data/raw/cats/{file}")


@pytest.mark.parametrize("place", ["cats/images", "images", "cats/images.gz", "images.gz"])
def test_the_users_own_folder_comes_first(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = tmp_path / "own" / place
    own.parent.mkdir(parents=True)
    own.write_bytes(gzip.compress(CONTENT) if place.endswith("gz") else CONTENT)
    (tmp_path / "other").write_bytes(CONTENT)
    monkeypatch.setenv(FOLDER, str(tmp_path / "own"))
    assert get(entry(f"file:{tmp_path}/other")) == (CONTENT, str(own))


def test_a_wrong_file_of_the_user_is_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "images").write_bytes(CONTENT[:-1])
    (tmp_path / "other").write_bytes(CONTENT)
    monkeypatch.setenv(FOLDER, str(tmp_path))
    with pytest.raises(BadInput, match=r"images: sha256 is .*; 10239 bytes, expected 10240\n"):
        get(entry(f"file:{tmp_path}/other"))


def test_a_folder_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, "/nowhere")
    with pytest.raises(BadInput, match=f"{FOLDER} names '/nowhere', which is no folder"):
        get(entry("file:/x"))


def test_a_data_dir_that_is_no_folder_is_refused_by_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, "")
    set_own_folder(str(tmp_path))
    assert os.environ[FOLDER] == str(tmp_path)
    for found in (2024, "/nowhere"):
        with pytest.raises(BadInput, match=f"data_dir: found {found!r}; allowed: the path of a"):
            set_own_folder(found)


def test_sources_are_tried_in_their_order(tmp_path: Path, address: str) -> None:
    folder = tmp_path / "node_modules/cats/data"
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(CONTENT)
    found = entry("package:nowhere/x", "npm:cats/data/images", f"{address}/whole")
    assert get(found) == (CONTENT, "npm:cats/data/images")
    (folder / "images").write_bytes(PAGE)
    assert get(found) == (CONTENT, f"{address}/whole")


@pytest.mark.parametrize("page", ["whole", "gz", "flaky"])
def test_a_file_is_loaded_from_its_address(address: str, page: str) -> None:
    assert get(entry(f"{address}/{page}")) == (CONTENT, f"{address}/{page}")
    assert Answers.broken == (2 if page == "flaky" else 0)


def test_a_name_that_says_gzip_is_kept_compressed(tmp_path: Path) -> None:
    raw = gzip.compress(CONTENT, mtime=0)
    (tmp_path / "table").write_bytes(raw)
    assert get(entry(f"file:{tmp_path}/table", content=raw), "table.csv.gz")[0] == raw


def test_without_a_source_the_message_says_what_to_put_where(tmp_path: Path, address: str) -> None:
    """Each source with its reason: absent, cut off, a page, another file, a damaged archive."""
    (tmp_path / "cut.gz").write_bytes(gzip.compress(CONTENT)[:50])
    pages = [f"{address}/{page}" for page in ("missing", "cut", "page")]
    sources = ["package:nowhere/x", f"file:{tmp_path}/none", f"file:{tmp_path}/cut.gz", *pages]
    with pytest.raises(BadInput) as caught:
        get(entry(*sources))
    assert Answers.broken == TRIES
    lines = str(caught.value).split("\n  ")
    assert lines[0] == "cats: images could not be had:"
    reasons = {line.split(": ")[0]: line for line in lines[1:-1]}
    assert list(reasons) == [*sources[:3], "dvc", *pages]
    assert "nothing here is tracked by DVC" in reasons["dvc"]
    assert "no installed package nowhere holds x" in reasons["package:nowhere/x"]
    assert f"there is no {tmp_path}/none" in reasons[f"file:{tmp_path}/none"]
    assert "damaged or cut off" in reasons[f"file:{tmp_path}/cut.gz"]
    assert "404" in reasons[pages[0]]
    assert "not loaded" in reasons[pages[1]]
    assert "it is a web page" in reasons[pages[2]]
    wanted = hashlib.sha256(CONTENT).hexdigest()
    assert lines[-1] == (
        f"put the file (10240 bytes, sha256 {wanted}; gzipped as images.gz is as good) into a "
        f"folder and name the folder by {FOLDER} or data_dir"
    )


def test_an_md5_is_a_hash_as_well(tmp_path: Path) -> None:
    (tmp_path / "images").write_bytes(CONTENT)
    found = entry(f"file:{tmp_path}/images") | {"md5": hashlib.md5(CONTENT).hexdigest()}
    del found["sha256"]
    assert get(found)[0] == CONTENT
    with pytest.raises(BadInput, match=r"md5 is .*, expected 0000"):
        get(found | {"md5": "0" * 32})


def exported(address: str, folder: Path, **changes: str) -> tuple[dict[str, Any], Path]:
    """CIFAR-10 as it is registered, but for the archive, and where that lies as a raw file."""
    registered = read_yaml(ROOT / "config/datasets.yaml")["cifar10"]
    (name,) = registered["files"]
    own = {"bytes": len(CIFAR), "md5": hashlib.md5(CIFAR).hexdigest(), "sources": [address]}
    registered = registered | {"tested": 20, "files": {name: own | changes}}
    call(export_data, dataset="cifar10", registered=registered["files"][name], raw=folder / name)
    return registered, folder / name


@pytest.mark.parametrize("page", ["cifar", "cifar-flaky"])
def test_cifar_10s_archive_goes_from_its_address_through_its_reader(
    page: str, address: str, tmp_path: Path
) -> None:
    registered, raw = exported(f"{address}/{page}", tmp_path)
    assert Answers.broken == (2 if page == "cifar-flaky" else 0)
    call(
        prepare_data,
        dataset="cifar10",
        registered=registered,
        split={"seed": 0, "validation": 0.2},
        raw=[raw],
        prepared=tmp_path / "prepared",
        manifest=tmp_path / "manifest",
    )
    data = read_dataset(tmp_path / "prepared")
    assert [len(part) for part in (data.train, data.validation, data.test)] == [80, 20, 20]
    assert data.train.pixels.shape[1:] == (3, 32, 32)
    assert data.test.labels.bincount().tolist() == [2] * 10


@pytest.mark.parametrize(
    ("page", "changes", "message"),
    [
        ("cifar", {"md5": "0" * 32}, r"/cifar: md5 is \w+, expected 0+; \d+ bytes, expected"),
        ("page", {}, "/page: md5 is .*; it is a web page"),
        ("cut", {}, "/cut: not loaded"),
        ("missing", {}, "/missing: not loaded: 404"),
    ],
)
def test_what_is_not_cifar_10s_archive_is_refused(
    page: str, changes: dict[str, str], message: str, address: str, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match=message):
        exported(f"{address}/{page}", tmp_path, **changes)
    assert not [*tmp_path.glob("cifar*")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("package:sklearn.datasets.data/x.csv", "sklearn holds datasets/data/x.csv"),
        ("package:sklearn.nowhere/x.csv", "no installed package sklearn holds nowhere/x.csv"),
        ("package:this/x.csv", "no installed package this holds x.csv"),
        ("npm:nothing/x.csv", "no package of npm holds nothing/x.csv"),
    ],
)
def test_what_a_source_does_not_have_is_named(source: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        get(entry(source))


def test_an_unknown_kind_of_source_is_refused() -> None:
    with pytest.raises(BadInput, match="unknown source 'ftp://x'; allowed: package, npm"):
        fetch("ftp://x")


@pytest.mark.starts_interpreter
def test_what_dvc_tracks_is_taken_from_its_cache(tmp_path: Path) -> None:
    """Before any address, and though the file itself is gone."""
    own = tmp_path / "data/raw/cats/images"
    own.parent.mkdir(parents=True)
    own.write_bytes(CONTENT)
    for words in (["init", "--no-scm", "--quiet"], ["add", "--quiet", str(own)]):
        subprocess.run([sys.executable, "-m", "dvc", *words], check=True)
    own.unlink()
    assert get(entry("http://127.0.0.1:9/never")) == (CONTENT, "dvc")
    with pytest.raises(BadInput, match="dvc: DVC has no data/raw/cats/labels"):
        get(entry("package:nowhere/x"), "labels")
