"""Circumstances that another machine would bring: no network, a program that is not there."""

import os
import subprocess
from pathlib import Path


def namespace(*kinds: str) -> tuple[str, ...]:
    """The words before a command that give it namespaces of its own, such as ``--net``; none where
    that is not permitted.
    """
    words = ("unshare", *kinds) if os.geteuid() == 0 else ("unshare", "--map-root-user", *kinds)
    try:
        return words if subprocess.run([*words, "true"], check=False).returncode == 0 else ()
    except FileNotFoundError:
        return ()


def path_without(program: str, path: str, folder: Path) -> str:
    """A PATH with all programs of ``path`` but one; its first folder, Python's own, stays."""
    first, *others = path.split(os.pathsep)
    assert not (Path(first) / program).exists()
    folder.mkdir(parents=True)
    for other in map(Path, others):
        for file in other.iterdir() if other.is_dir() else ():
            link = folder / file.name
            if file.name != program and not link.is_symlink():
                link.symlink_to(file)
    return os.pathsep.join((first, str(folder)))
