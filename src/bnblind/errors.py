"""Errors whose message is all a user needs: what was found, and what is allowed."""

from collections.abc import Iterable
from difflib import get_close_matches


class BadInput(ValueError):
    """Wrong input. The message names the thing, what was found and what is allowed.

    >>> import bnblind
    >>> try:
    ...     bnblind.build_norm("batchnorm", (3,))
    ... except bnblind.BadInput as error:
    ...     print(str(error)[:42])
    unknown norm 'batchnorm'; allowed: bn, bn_
    """


class Diverged(RuntimeError):
    """The training loss is no longer finite. The message names run, epoch and step."""


def unknown(kind: str, found: object, allowed: Iterable[str]) -> BadInput:
    """The error for a name that is not in a registry; it names the nearest that is."""
    names = [*allowed]
    near = get_close_matches(str(found), names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return BadInput(f"unknown {kind} {found!r}; allowed: {', '.join(names)}{hint}")
