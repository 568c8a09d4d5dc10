"""What is tested of what is too much for every commit."""

import random
import subprocess
from collections.abc import Sequence
from typing import TypeVar

import pytest

from tests.conftest import ROOT

T = TypeVar("T")


def by_commit(items: Sequence[T], count: int) -> list[T]:
    """Some of the items in their order, chosen by the hash of the present commit; the first ones
    where there is no git.
    """
    command = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return [*items[:count]]
    chosen = random.Random(commit).sample(range(len(items)), min(count, len(items)))
    return [items[place] for place in sorted(chosen)]


TURN = by_commit(("fresh machine", "cluster", "profiles"), 1)[0]
"""What takes longest takes turns, by the commit's hash: a fresh machine; the whole run on a cluster
(otherwise a part of it); profiles that run to their end (always, but beside a fresh machine).
"""

beside_no_fresh_machine = pytest.mark.skipif(
    TURN == "fresh machine", reason="two commits of three, by the hash; the third tries a machine"
)
