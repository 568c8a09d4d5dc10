"""The probe beside what others put around a model: DDP, a compiler, a loss scaler, threads."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import torch
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from bnblind import BadInput, BlindnessProbe
from tests.helpers.probing import IMAGES, LABELS, network


def loss_of(model: nn.Module) -> torch.Tensor:
    torch.manual_seed(3)  # of dropout
    return F.cross_entropy(model(IMAGES.float()), LABELS)


def table_of(model: nn.Module, probe: BlindnessProbe) -> pd.DataFrame:
    with probe:
        loss_of(model).backward()
    return probe.table()


@pytest.fixture
def process_group(tmp_path: Path) -> Iterator[None]:
    """Of this process alone, which meets itself in a file."""
    distributed.init_process_group("gloo", f"file://{tmp_path}/meeting", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def test_under_ddp_the_shares_are_the_models_and_names_those_of_the_module_that_is_given(
    process_group: None,
) -> None:
    model = network().float()
    expected = table_of(model, BlindnessProbe(model))
    wrapped = DistributedDataParallel(network().float(), find_unused_parameters=True)
    inside = table_of(wrapped, BlindnessProbe(wrapped.module))
    pd.testing.assert_frame_equal(inside, expected)
    outside = table_of(wrapped, BlindnessProbe(wrapped))
    assert outside["layer"].tolist() == [f"module.{name}" for name in expected["layer"]]
    pd.testing.assert_frame_equal(outside.drop(columns="layer"), expected.drop(columns="layer"))


def test_a_compiled_model_is_refused_by_its_name() -> None:
    model = network().float()
    compiled = torch.compile(model, backend="aot_eager")
    with (
        BlindnessProbe(model),
        pytest.raises(BadInput, match=r"torch\.compile; use the model before it was compiled"),
    ):
        loss_of(compiled).backward()


def test_a_loss_scalers_overflow_is_counted_apart_and_its_factor_is_in_the_norms_alone() -> None:
    model = network().float()
    plain = table_of(model, BlindnessProbe(model))
    probe = BlindnessProbe(model)
    for scale in (2.0**127, 2.0**10):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        with probe:
            scaler.scale(100 * loss_of(model)).backward()
    reached = plain["found"] == "measured"
    plain, scaled = plain[reached], probe.table()[reached]
    assert len(plain) == 3
    assert scaled["not_finite"].eq(1).all()
    for share in ("passing", "mean_share", "scale_share"):
        assert scaled[share].tolist() == pytest.approx(plain[share].tolist(), rel=1e-4)
    factor = scaled["grad_norm_in"] / plain["grad_norm_in"]
    assert factor.tolist() == pytest.approx([100 * 2.0**10] * len(plain), rel=1e-4)


def test_a_backward_call_of_another_thread_is_not_seen_which_is_said() -> None:
    model = network().float()
    with BlindnessProbe(model) as probe:
        thread = Thread(target=loss_of(model).backward)
        thread.start()
        thread.join()
    with pytest.raises(BadInput, match=r"has seen no backward call.* in the same thread"):
        probe.table()
