"""Contact sheets of image data."""

import pandas as pd
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from bnblind.figures.style import COLUMN


def contact_sheet(images: Tensor, labels: Tensor, per_class: int) -> tuple[Figure, pd.DataFrame]:
    """The first ``per_class`` images of each class, one class per row; ``images`` (n, C, H, W) are
    grey values, shown from their minimum to their maximum.
    """
    classes = labels.unique(sorted=True)
    rows = torch.cat([(labels == c).nonzero().flatten()[:per_class] for c in classes])
    grid = make_grid(images[rows].float(), nrow=per_class, normalize=True, padding=1, pad_value=0.2)
    figure, axes = plt.subplots(figsize=(COLUMN, COLUMN * grid.shape[1] / grid.shape[2]))
    shown = grid.permute(1, 2, 0).numpy()
    # Digits are drawn dark on white, photographs as they are.
    axes.imshow(1 - shown if images.shape[1] == 1 else shown, interpolation="nearest")
    height = images.shape[2] + 1
    axes.set_yticks([(i + 0.5) * height for i in range(len(classes))], classes.tolist())
    axes.set_xticks([])
    axes.tick_params(left=False)
    axes.set_ylabel("class")
    axes.spines[:].set_visible(False)
    drawn = pd.DataFrame({"row_of_part": rows.tolist(), "label": labels[rows].tolist()})
    return figure, drawn
