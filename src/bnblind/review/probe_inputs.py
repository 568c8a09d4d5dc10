"""The user's model and data, by the names given to ``bnblind probe``."""

import sys
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnblind.errors import BadInput, unknown

if TYPE_CHECKING:
    from torch import Tensor, nn

MOST_SAMPLES = 10_000
"""How many samples are taken from the user's batches at most."""

TORCHVISION = "torchvision"
CLASSES = 10
"""Outputs of torchvision's models: the digits' classes."""


def raised(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())


def _named(option: str, spec: str, allowed: str) -> Any:
    """The object called ``package.module:name``; the current directory may hold the module. Raises
    BadInput for no such form, module or name, or a module that cannot be imported.
    """
    module, _, name = spec.partition(":")
    if not module or not name:
        raise BadInput(f"{option} must be {allowed}; found {spec!r}")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found = import_module(module)
    except Exception as error:  # the user's module may raise anything
        raise BadInput(f"{option} {spec}: cannot import {module}: {raised(error)}") from error
    if not hasattr(found, name):
        public = [own for own in vars(found) if not own.startswith("_")]
        raise BadInput(f"{option} {spec}: {unknown(f'name in {module}', name, public)}")
    return getattr(found, name)


def _torchvision_model(name: str) -> "nn.Module":
    from torchvision import models

    allowed = models.list_models(module=models)
    if name not in allowed:
        raise unknown("torchvision model", name, allowed)
    return models.get_model(name, weights=None, num_classes=CLASSES)


def load_model(spec: str, seed: int) -> "nn.Module":
    """The model ``package.module:factory`` or ``torchvision:NAME``, initialized from the seed.
    Raises BadInput if there is none, or the factory does not return a model.
    """
    from torch import nn

    from bnblind.experiments.randomness import global_stream

    kind, _, name = spec.partition(":")
    with global_stream(seed, "model"):
        if kind == TORCHVISION:
            return _torchvision_model(name)
        factory = _named("--model", spec, f"package.module:factory or {TORCHVISION}:NAME")
        try:
            model = factory()
        except Exception as error:  # the user's factory may raise anything
            raise BadInput(f"--model {spec}: calling it raised {raised(error)}") from error
    if not isinstance(model, nn.Module):
        raise BadInput(
            f"--model {spec}: must return a torch.nn.Module; found {type(model).__name__}"
        )
    return model


def _digits(*, as_photographs: bool) -> "tuple[Tensor, Tensor]":
    """The digits with mean 0 and standard deviation 1: (1797, 1, 8, 8), or (1797, 3, 32, 32)."""
    import torch
    from sklearn.datasets import load_digits
    from torch.nn.functional import interpolate

    pixels, labels = load_digits(return_X_y=True)
    images = torch.from_numpy((pixels - pixels.mean()) / pixels.std()).float().view(-1, 1, 8, 8)
    if as_photographs:
        images = interpolate(images, size=32, mode="bilinear").expand(-1, 3, -1, -1)
    return images, torch.from_numpy(labels).long()


def _checked_pairs(spec: str, batches: Iterable[Any]) -> "Iterator[tuple[Tensor, Tensor]]":
    import torch

    for batch in batches:
        pair = batch if isinstance(batch, tuple | list) else ()
        if len(pair) != 2 or not all(isinstance(part, torch.Tensor) for part in pair):
            parts = ", ".join(type(part).__name__ for part in pair) or type(batch).__name__
            raise BadInput(f"--data {spec}: must give pairs of tensors (x, target); found {parts}")
        x, target = pair
        if target.dim() != 1 or target.is_floating_point() or len(x) != len(target):
            raise BadInput(
                f"--data {spec}: target must be one integer class per sample; found x of shape "
                f"{tuple(x.shape)} and target of {target.dtype}, shape {tuple(target.shape)}"
            )
        yield x, target.long()


def _gathered(spec: str) -> "tuple[Tensor, Tensor]":
    """The first samples of the user's batches, as two tensors; raises BadInput if these are not
    pairs of tensors, or do not fit together.
    """
    import torch

    batches = _named("--data", spec, "digits or package.module:batches")
    xs, targets, count = [], [], 0
    try:
        for x, target in _checked_pairs(spec, batches() if callable(batches) else batches):
            xs.append(x)
            targets.append(target)
            count += len(x)
            if count >= MOST_SAMPLES:
                break
        if not count:
            raise BadInput(f"--data {spec}: gives no sample; one pair (x, target) is needed")
        return torch.cat(xs)[:MOST_SAMPLES], torch.cat(targets)[:MOST_SAMPLES]
    except BadInput:
        raise
    except Exception as error:  # the user's data may raise anything
        raise BadInput(f"--data {spec}: reading it raised {raised(error)}") from error


def load_data(spec: str, *, as_photographs: bool) -> "tuple[Tensor, Tensor]":
    """All samples (n, ...) and their classes (n,) of ``digits`` or ``package.module:batches``;
    ``as_photographs``: the digits in the shape that torchvision's models take.
    """
    return _digits(as_photographs=as_photographs) if spec == "digits" else _gathered(spec)
