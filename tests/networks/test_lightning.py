"""The recipe of docs/library.md for Lightning, as it stands."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import bnblind
from tests.conftest import ROOT
from tests.helpers.pages import blocks

REASON = "needs Lightning: make peers"


def test_the_recipe_logs_what_the_probe_measures(tmp_path: Path) -> None:
    lightning = pytest.importorskip("lightning", reason=REASON)
    from lightning.pytorch.loggers import CSVLogger

    (recipe,) = blocks(ROOT / "docs/library.md", "python lightning")
    assert len(recipe.splitlines()) <= 10 + recipe.count("\n\n")
    steps = 20

    class Classifier(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))

        def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
            return F.cross_entropy(self.layers(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    known = {"bnblind": bnblind, "Classifier": Classifier}
    exec(recipe, known)
    x, labels = torch.randn(8 * steps, 5), torch.arange(8 * steps) % 3
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, labels), batch_size=8)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=CSVLogger(tmp_path),
        log_every_n_steps=1,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    probed = known["Probed"]()
    trainer.fit(probed, data)
    assert probed.probe.steps == steps - 11, "since the last time"

    own, expected = Classifier(), {}
    probe, optimizer = bnblind.BlindnessProbe(own), own.configure_optimizers()
    for step, rows in enumerate(torch.arange(len(x)).split(8)):
        optimizer.zero_grad()
        loss = own.training_step([x[rows], labels[rows]])
        with probe:
            loss.backward()
        optimizer.step()
        if step % 10 == 0:
            expected[step] = probe.table()["passing"].item()
            probe.reset()
    metrics = pd.read_csv(next(tmp_path.rglob("metrics.csv"))).set_index("step")
    # In between, Lightning repeats the last value.
    assert metrics["passing/layers.1"][[*expected]].to_dict() == pytest.approx(expected)
