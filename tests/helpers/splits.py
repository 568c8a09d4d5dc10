"""The table of cases, split by the library and by the oracle."""

from functools import cache

from torch import nn

from bnblind import split_head
from tests.helpers.dense import EXACT, PARTS, taylor_of_head


def split(case, **options):
    built = case.build()
    options = {"sigma": built.sigma, "loss": case.loss_function, **options}
    return split_head(built.head, built.y, built.target, built.y0, **options)


@cache
def split_of(case):
    return split(case)


@cache
def dense_of(case):
    built = case.build()
    # torch.func does not let an in-place function write into what it maps over.
    layers = [nn.ReLU() if isinstance(m, nn.ReLU) else m for m in built.head]
    head = nn.Sequential(*layers)
    return taylor_of_head(head, case.loss_function, built.y, built.y0, built.target)


def gap(found, dense, allowed=EXACT):
    """Errors of the terms that exceed what is allowed."""
    unit = dense.largest()
    errors = {p: (getattr(found, p) - getattr(dense, p)).abs().max().item() / unit for p in PARTS}
    return {part: error for part, error in errors.items() if not error <= allowed}
