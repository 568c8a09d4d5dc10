"""Vary what must not matter, run the smoke profile, and compare every byte.

    python scripts/certify.py FOLDER

FOLDER keeps what was tried: called again at the same commit, the script goes on where it was.
Writes the table of docs/certificate.md. Without root and mmdebstrap it leaves out the other C
library, without qemu-x86_64 the other processors; it needs the language tr_TR.UTF-8.
"""

import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clones import commit, fresh_clone, hashes
from documents import table, with_part
from other_processor import NATIVE, PROCESSORS, run_steps

from bnblind.numerics import DEFAULT, environment
from bnblind.review.machine import processor

DOCUMENT = Path("docs/certificate.md")
RUN = ["-m", "snakemake", "--quiet", "all", "--configfile", "config/smoke.yaml", "--cores"]
PLAIN = {
    name: value
    for name, value in os.environ.items()
    if name not in {*environment(DEFAULT, 1), "PYTHONPATH"}
}
RELEASE = "trixie"
"""Of Debian, whose C library is another one."""
LIBRARIES = "libffi8,libssl3t64,libsqlite3-0,libbz2-1.0,liblzma5,zlib1g"
"""That Python's own modules load."""
CHROOT = """
root=$1 clone=$2 programs=$3/bin
mount --rbind /dev "$root/dev"
mount -t proc proc "$root/proc"
for folder in "$3" "$4" "$clone"; do
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
done
shift 4
exec chroot --userspec=someone:someone "$root" env --ignore-environment HOME=/home/someone \
  PATH="$programs:/usr/bin:/bin" sh -euc 'cd "$1"; shift; exec "$@"' sh "$clone" "$@"
"""
"""Arguments: the system, the clone, Python's two folders, the command."""


@dataclass(frozen=True)
class Variation:
    """A way to run the smoke profile.

    Attributes:
        words: what is varied, and how.
        place: of the clone, below the folder of all.
        before: words before the command.
    """

    words: str
    place: str = "clone"
    cores: int = 2
    variables: Mapping[str, str] = field(default_factory=dict)
    umask: int = -1
    before: tuple[str, ...] = ()


BASELINE = Variation("nothing: 1 core", cores=1)
VARIATIONS = (
    Variation("2 cores"),
    Variation("8 cores", cores=8),
    Variation(
        "directory, a long path with spaces and umlauts",
        place=("ein anderer, äußerst langer Ort " * 6)[:150],
    ),
    Variation(
        "time zone, language, umask and hash seed, at once",
        umask=0o077,
        variables={"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "4711"},
    ),
)


def made(variation: Variation, folder: Path, clone: Path | None = None) -> dict[str, str]:
    """Run the smoke profile in a new clone: path -> sha256 of every file that it made."""
    clone = clone or fresh_clone(folder / variation.place)
    subprocess.run(
        [*variation.before, sys.executable, *RUN, str(variation.cores)],
        cwd=clone,
        env={**PLAIN, **variation.variables},
        umask=variation.umask,
        check=True,
    )
    return hashes(clone / "runs/smoke")


def other_libc(folder: Path) -> tuple[str, dict[str, str]] | None:
    """What the C library there is, and the files of a run by an ordinary user on that Debian."""
    if os.geteuid() or shutil.which("mmdebstrap") is None:
        return None
    root, clone = folder / RELEASE, fresh_clone(folder / "clone")
    shutil.rmtree(root, ignore_errors=True)
    bootstrap = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={LIBRARIES}", RELEASE]
    subprocess.run([*bootstrap, str(root)], check=True, env={**PLAIN, "LC_ALL": "C.UTF-8"})
    for place in (root, root / "root"):
        place.chmod(0o755)
    subprocess.run(["chroot", root, "useradd", "--create-home", "someone"], check=True)
    subprocess.run(["chown", "--recursive", "1000:1000", clone], check=True)
    inside = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-euc", CHROOT)
    before = (*inside, "bash", *map(str, (root, clone, sys.prefix, sys.base_prefix)))
    asked = [*before, sys.executable, "-c", "import platform; print(*platform.libc_ver())"]
    libc = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()
    found = made(Variation("", before=before), folder, clone)
    shutil.rmtree(root)
    return libc, found


def differ(found: Mapping[str, object], expected: Mapping[str, object]) -> int:
    return sum(found.get(name) != expected.get(name) for name in {*found, *expected})


def baseline(folder: Path) -> tuple[dict[str, str], Path]:
    """The files of an unvaried run, and its prepared data; run once."""
    kept, prepared = folder / "baseline.json", folder / "prepared.safetensors"
    if not kept.exists():
        found = made(BASELINE, folder)
        digits = folder / BASELINE.place / "runs/smoke/data/prepared/digits.safetensors"
        shutil.copyfile(digits, prepared)
        kept.write_text(json.dumps(found))
    expected: dict[str, str] = json.loads(kept.read_text())
    return expected, prepared


def rows(folder: Path, told: dict[str, list[str]]) -> Iterator[tuple[str, list[str]]]:
    """What was varied -> of what, how many files, how many differ; not those told already."""
    libc = " ".join(platform.libc_ver())
    here = f"the smoke profile: {processor()}, {libc}, {DEFAULT}"
    expected, prepared = baseline(folder)
    yield BASELINE.words, [here, str(len(expected)), "0"]
    for variation in VARIATIONS:
        if variation.words not in told:
            found = made(variation, folder)
            yield variation.words, [here, str(len(found)), str(differ(found, expected))]
    words = f"C library and user: an ordinary one on Debian {RELEASE}"
    if words not in told and (other := other_libc(folder)):
        of = f"the smoke profile: {other[0]} instead of {libc}"
        yield words, [of, str(len(other[1])), str(differ(other[1], expected))]
    for level, processors in PROCESSORS.items():
        for name in processors if shutil.which("qemu-x86_64") else ():
            words = f"processor: qemu's {name}, {level}"
            if words not in told:
                shutil.rmtree(folder / "steps", ignore_errors=True)
                (folder / "steps").mkdir()
                native, emulated = (
                    run_steps(level, on, Path("src").resolve(), prepared, folder / "steps" / on)
                    for on in (NATIVE, name)
                )
                of = "a training of each kind, of each deep network, every step of analysis"
                yield words, [of, str(len(emulated)), str(differ(emulated, native))]


def document(told: Mapping[str, list[str]]) -> str:
    """docs/certificate.md with these rows in its table."""
    lines = table(["varied", "of", "files", "differ"], [[w, *r] for w, r in told.items()])
    part = "\n" + "\n".join([*lines, f"Commit: {commit()}.", ""])
    return with_part(DOCUMENT.read_text(), "certificate", part, "<!-- {} -->\n", maker="certify")


def main(folder: Path) -> None:
    installed = subprocess.run(["locale", "-a"], check=True, capture_output=True, text=True)
    if "tr_TR.utf8" not in installed.stdout.split():
        raise SystemExit("error: needs: localedef -i tr_TR -f UTF-8 tr_TR.UTF-8 (Debian: locales)")
    folder.mkdir(parents=True, exist_ok=True)
    folder = folder.resolve() / commit()
    folder.mkdir(exist_ok=True)
    state = folder / "certificate.json"
    told: dict[str, list[str]] = json.loads(state.read_text()) if state.exists() else {}
    for words, row in rows(folder, told):
        told[words] = row
        state.write_text(json.dumps(told, indent=1))
        DOCUMENT.write_text(document(told))
        print(words, *row, sep=" | ", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
