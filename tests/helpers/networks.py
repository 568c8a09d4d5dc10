"""Networks for tests."""

from bnblind.experiments.networks.models import MODELS

FOR_DIGITS = [name for name in MODELS if name not in ("vgg11", "resnet18", "densenet121")]
"""All but the paper's, which tests/experiments/test_deep.py is about."""
