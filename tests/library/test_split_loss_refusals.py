"""What `split_loss` refuses, by what it says; the model stays as it was."""

import pytest
import torch
from torch import nn

from bnblind import BadInput, split_loss
from tests.helpers.cases import C, normal
from tests.helpers.models import VECTORS, Function, Model, chain, data, drawn, two_norms, vectors
from tests.helpers.snapshot import snapshot


class Twice(Model):
    def forward(self, x):
        return self.after(self.norm(self.norm(self.before(x))))


class SharedBefore(Model):
    """A batch norm, still training, that is called twice before the analysed layer."""

    def forward(self, x):
        return self.after(self.norm(self.side(self.before(self.side(x)))))


def shared_before():
    plain = vectors(nn.BatchNorm1d(5), features=5)
    return drawn(SharedBefore(plain.before, plain.norm, plain.after, nn.BatchNorm1d(5)))


class Never(Model):
    def forward(self, x):
        return self.after(self.before(x))


def of_class(kind):
    plain = vectors(nn.BatchNorm1d(6))
    return kind(plain.before, plain.norm, plain.after)


class Tokens(Model):
    def forward(self, x):
        each = self.before(x).repeat_interleave(3, 0)
        return self.after(self.norm(each).unflatten(0, (-1, 3)).sum(1))


def keeping_a_result():
    """Torch copies no tensor that was computed."""
    model = of_class(Model)
    model.kept = 2 * model.before.weight
    return model


class ByKeyword(Model):
    """Calls a later layer that couples the samples by keyword."""

    def forward(self, x):
        return self.after(self.side(input=self.norm(self.before(x))))


class ChannelsFirst(nn.LayerNorm):
    """As torchvision's: the last axis is normalized, and it is that of the channels."""

    def forward(self, x):
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def by_keyword():
    plain = vectors(nn.BatchNorm1d(6))
    return drawn(ByKeyword(plain.before, plain.norm, plain.after, nn.BatchNorm1d(6)))


def doubled():
    model = of_class(Model)
    forward = model.norm.forward
    model.norm.forward = lambda x: 2 * forward(x)
    return model


@pytest.mark.parametrize(
    ("model", "layer", "options", "found"),
    [
        (of_class(Twice), "norm", {}, "layer 'norm' is called more than once"),
        (shared_before(), "norm", {}, "layer 'side' is called more than once"),
        (of_class(Tokens), "norm", {}, "'norm' is given 18 rows of features for 6 samples"),
        (of_class(Never), "norm", {}, "does not call layer 'norm'"),
        (of_class(Model), "nrom", {}, "unknown layer 'nrom'; allowed: norm"),
        (of_class(Model), "before", {}, "layer 'before' is a Linear; allowed: BatchNorm"),
        (chain()[:5], "", {}, "unknown layer ''; allowed: "),
        (nn.Sequential(chain(), nn.Linear(C, C)).double(), "0", {}, "layer '0' is a Sequential"),
        (of_class(Model), "norm", {"downstream": "ignore"}, "unknown downstream 'ignore'"),
        (of_class(Model), "norm", {"hdiag": "dense"}, "hdiag 'dense' is unknown"),
        (of_class(Model), "norm", {"loss": "hinge"}, "unknown loss 'hinge'"),
        (of_class(Model), "norm", {"dtype": torch.float16}, "float16 is not allowed"),
        (of_class(Model), "norm", {"target": torch.arange(3)}, "one target per sample, 6; found 3"),
        (
            of_class(Model),
            "norm",
            {"x": normal(1, 5)},
            "'norm' needs at least 2 values per channel",
        ),
        (vectors(nn.BatchNorm1d(6), after=[Function(lambda z: (z, z))]), "norm", {}, "output"),
        (vectors(nn.BatchNorm1d(6), after=[Function(lambda z: z[:, 0])]), "norm", {}, "outputs"),
        (two_norms(), "norm", {}, "couples the samples"),
        (by_keyword(), "norm", {}, "after the analysed layer, layer 'side'"),
        (doubled(), "norm", {}, "layer 'norm': its forward pass was replaced"),
        (
            drawn(nn.Sequential(nn.Conv2d(2, 6, 1), ChannelsFirst(6), nn.Flatten())),
            "1",
            {"x": normal(6, 2, 3, 4)},
            "does more than a normalization's two phases",
        ),
        (keeping_a_result(), "norm", {}, "the model cannot be copied: Only Tensors created"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refusals_say_what_is_wrong_and_leave_the_model_alone(model, layer, options, found):
    x, target = data(VECTORS)
    model.double()
    before = snapshot(model, x, target)
    with pytest.raises(BadInput, match=found):
        split_loss(model, layer, **{"x": x, "target": target, **options})
    assert snapshot(model, x, target) == before
