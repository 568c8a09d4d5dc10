"""``bnblind restore``: the published run or nothing, from real remotes, whole and damaged."""

import contextlib
import os
import shutil
import time
from pathlib import Path

import pytest

from bnblind.review import restore
from tests.helpers.clones import AUTHOR, Clone, copy_of
from tests.helpers.server import PASSWORD, USER, answers, free_port, nginx

BNBLIND = ("env", "PYTHONPATH=src", "python", "-m", "bnblind")

needs_nginx = pytest.mark.skipif(
    shutil.which("nginx") is None, reason="needs nginx (Debian package nginx-light)"
)


@pytest.fixture(scope="module")
def published(committed: Clone, tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """A finished clone whose hashes are committed, and a remote ``store`` that holds its files."""
    folder = tmp_path_factory.mktemp("published")
    clone = copy_of(committed, folder / "clone")
    clone.run(*BNBLIND, "receipt", "--record")
    clone.run("git", "add", "--all")
    clone.run("git", *AUTHOR, "commit", "--quiet", "--message", "published")
    clone.run("dvc", "remote", "add", "--local", "store", str(folder / "store"))
    clone.run("dvc", "push", "--remote", "store")
    return clone


@pytest.fixture
def store(published: Clone, tmp_path: Path) -> Path:
    """A copy of the remote, to be damaged."""
    return Path(shutil.copytree(published.path.parent / "store", tmp_path / "store"))


@pytest.fixture
def bare(published: Clone, tmp_path: Path) -> Clone:
    """A bare clone of it."""
    published.run("git", "clone", "--quiet", ".", str(tmp_path / "bare"))
    return Clone(tmp_path / "bare", environment=published.environment)


def refused(clone: Clone, *words: str) -> str:
    """What ``bnblind restore`` says, which must fail with one error and change nothing."""
    before = clone.hashes()
    code, printed = clone.attempt(*BNBLIND, "restore", *words)
    assert code == 1, printed
    assert printed.startswith("error: ")
    assert "Traceback" not in printed
    assert clone.hashes() == before
    assert not list((clone.path / ".dvc/tmp").glob("restore-*"))
    return printed


def test_what_is_restored_is_the_published_run_and_later_edits_plan_their_jobs(
    published: Clone, bare: Clone, store: Path
) -> None:
    number = len(published.outputs())
    (bare.path / "logs").mkdir()
    (bare.path / "logs/theorems.log").write_text('usage: {"numerics": "fast"}\n')
    printed = bare.run(*BNBLIND, "restore", str(store))
    assert f"{number} files restored from {store}, each as published" in printed
    assert bare.hashes() == published.hashes()
    assert bare.planned() == {}
    assert f"{number} of {number} files identical" in bare.run(*BNBLIND, "receipt")
    page = (bare.path / "reports/receipt.html").read_text()
    assert f"<td>restored from {store}</td>" in page, "of an earlier run no log is left"
    assert bare.run("git", "status", "--porcelain") == ""
    for file, old, new in (
        ("config/config.yaml", "1.0e-5]\n  seeds: [0]", "1.0e-5]\n  seeds: [1]"),
        ("src/bnblind/figures/theorems.py", '"""', '"""Edited. '),
    ):
        text = (bare.path / file).read_text()
        for clone in (bare, published):
            (clone.path / file).write_text(text.replace(old, new, 1))
        plan = bare.planned()
        assert plan == published.planned() != {}
        for clone in (bare, published):
            (clone.path / file).write_text(text)
    assert bare.planned() == {}


@needs_nginx
def test_from_a_server_with_a_password(published: Clone, bare: Clone, tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with nginx(tmp_path / "server", port):
        for clone in (published, bare):
            clone.run("dvc", "remote", "add", "--local", "--force", "server", url)
            for key, value in {
                "method": "PUT",
                "auth": "basic",
                "user": USER,
                "password": PASSWORD,
            }.items():
                clone.run("dvc", "remote", "modify", "--local", "server", key, value)
        published.run("dvc", "push", "--remote", "server")
        bare.run("dvc", "remote", "modify", "--local", "server", "password", "wrong")
        assert "the remote server refused the user or the password" in refused(bare, "server")
        bare.run("dvc", "remote", "modify", "--local", "server", "password", PASSWORD)
        bare.run(*BNBLIND, "restore", "server")
        assert bare.hashes() == published.hashes()
    assert "the remote server cannot be reached" in refused(bare, "server")


def test_a_password_in_the_url_is_told_to_nobody(bare: Clone) -> None:
    port = free_port()
    url = f"http://{USER}:{PASSWORD}@127.0.0.1:{port}"
    printed = refused(bare, url)
    assert f"the remote http://127.0.0.1:{port} cannot be reached" in printed
    assert PASSWORD not in printed
    assert restore.shown(f"a {url}/b and {url}") == (
        f"a http://127.0.0.1:{port}/b and http://127.0.0.1:{port}"
    )


def objects(store: Path) -> list[Path]:
    """The remote's files, the largest first; not DVC's lists of folders."""
    found = [path for path in store.rglob("*") if path.is_file() and path.suffix != ".dir"]
    return sorted(found, key=lambda path: -path.stat().st_size)


@pytest.mark.parametrize("fault", ["a flipped bit", "cut off"])
def test_a_damaged_object_is_named_and_nothing_is_replaced(
    fault: str, bare: Clone, store: Path
) -> None:
    """Also what lies there stays. DVC itself takes such an object with exit code 0."""
    damaged = objects(store)[0]
    content = damaged.read_bytes()
    damaged.chmod(0o644)
    if fault == "cut off":
        damaged.write_bytes(content[:1000])
    else:
        damaged.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert damaged.read_bytes() != content
    (bare.path / "data/raw/digits").mkdir(parents=True)
    (bare.path / "data/raw/digits/digits.csv.gz").write_bytes(b"an earlier run's")
    printed = refused(bare, str(store))
    assert "the remote's files are not those published:" in printed
    assert len(printed.splitlines()) == 2, "the one file is named"
    named = bare.path / printed.splitlines()[1].strip()
    assert str(named.relative_to(bare.path)).startswith(("data/", "reports/"))


def test_a_remote_that_lacks_an_object_says_so(bare: Clone, store: Path) -> None:
    objects(store)[0].unlink()
    assert f"the remote {store} lacks files of the published run" in refused(bare, str(store))


@needs_nginx
def test_a_server_that_dies_in_mid_transfer(
    published: Clone, bare: Clone, store: Path, tmp_path: Path
) -> None:
    port = free_port()
    shutil.copytree(store, tmp_path / "server/files")
    for key, value in {"auth": "basic", "user": USER, "password": PASSWORD}.items():
        if key == "auth":
            url = f"http://127.0.0.1:{port}"
            bare.run("dvc", "remote", "add", "--local", "server", url)
        bare.run("dvc", "remote", "modify", "--local", "server", key, value)
    with nginx(tmp_path / "server", port, limit="limit_rate 4k;") as server:
        process = bare.start(*BNBLIND, "restore", "server")
        deadline = time.monotonic() + 120
        while not any((bare.path / ".dvc/tmp").glob("restore-*/**/files/md5/*/*")):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline, "the transfer never began"
            time.sleep(0.1)
        assert server.poll() is None
        server.kill()
        server.wait()
        assert not answers(port)
        printed, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert printed.startswith("error: the remote server ")
    assert "Traceback" not in printed
    assert bare.outputs() == []
    assert not list((bare.path / ".dvc/tmp").glob("restore-*"))


def test_a_changed_tree_and_files_that_are_not_published_are_refused(
    bare: Clone, store: Path
) -> None:
    bare.edit("config/config.yaml", "1.0e-5]\n  seeds: [0]", "1.0e-5]\n  seeds: [1]")
    assert "the tree is not as committed" in refused(bare, str(store))
    bare.run("git", "checkout", "--quiet", ".")
    (bare.path / "data/models").mkdir()
    (bare.path / "data/models/old.safetensors").write_bytes(b"x")
    printed = refused(bare, str(store))
    assert "not published, move them away first:\n  data/models/old.safetensors" in printed


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("config/config.yaml", "1.0e-5]\n  seeds: [0]", "1.0e-5]\n  seeds: [1]", "theorems of the"),
        ("src/bnblind/figures/theorems.py", '"""', '"""Edited. ', "src"),
    ],
    ids=["configuration", "code"],
)
def test_another_configuration_or_code_that_is_committed_is_refused(
    file: str, old: str, new: str, named: str, bare: Clone, store: Path
) -> None:
    """The published files were not made with it."""
    text = (bare.path / file).read_text()
    assert old in text
    (bare.path / file).write_text(text.replace(old, new, 1))
    bare.run("git", *AUTHOR, "commit", "--quiet", "--all", "--message", "changed")
    printed = refused(bare, str(store))
    assert printed.startswith("error: this is another run's tree:\n")
    assert f"  not as published: {named}" in printed


def test_with_dvcs_links_the_files_are_files_and_the_users_cache_stays_as_it_was(
    published: Clone, bare: Clone, store: Path, tmp_path: Path
) -> None:
    bare.run("dvc", "config", "--local", "cache.type", "symlink")
    bare.run("dvc", "cache", "dir", "--local", str(tmp_path / "cache"))
    bare.run(*BNBLIND, "restore", str(store))
    assert bare.hashes() == published.hashes()
    files = [bare.path / file for file in bare.outputs()]
    assert not any(file.is_symlink() or file.stat().st_nlink > 1 for file in files)
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_dvc_pull_itself_takes_a_damaged_object(bare: Clone, store: Path) -> None:
    """Why restoring reads every byte: were DVC to refuse one day, this would tell."""
    damaged = objects(store)[0]
    content = damaged.read_bytes()
    damaged.chmod(0o644)
    damaged.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    bare.run("dvc", "remote", "add", "--local", "store", str(store))
    assert bare.attempt("dvc", "pull", "--remote", "store")[0] == 0
    code, printed = bare.attempt(*BNBLIND, "receipt")
    assert code == 1
    assert "different: " in printed


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("at", ["data/a", "data/new", "data/b", "afterwards"])
@pytest.mark.parametrize("side", ["before", "after"])
def test_what_fails_while_files_are_moved_or_afterwards_leaves_all_as_it_was(
    error: BaseException, at: str, side: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``side``: as the old file is moved away, or as the new one is moved in."""
    monkeypatch.chdir(tmp_path)
    place = Path("place")
    names = ["data/a", "data/new", "data/b"]
    for name in names:
        for root in (place, Path()):
            if root == place or name != "data/new":
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                (root / name).write_text(f"{root}")
    replace, hit = os.replace, []

    def failing(source: Path, target: Path) -> None:
        here = Path(source) == (Path(at) if side == "before" else place / at)
        if here and not hit:
            hit.append(source)
            raise error
        replace(source, target)

    monkeypatch.setattr(os, "replace", failing)
    fails = at == "afterwards" or (at, side) != ("data/new", "before")
    with contextlib.suppress(type(error)):
        with restore.put_into_place(names, place):
            if at == "afterwards":
                raise error
        assert not fails
    found = {path.name: path.read_text() for path in Path("data").iterdir()}
    as_it_was = {"a": ".", "b": "."}
    assert found == (as_it_was if fails else dict.fromkeys(("a", "b", "new"), "place"))
