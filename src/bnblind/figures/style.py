"""The visual language of all figures: one colour, marker and name for each norm variant."""

from dataclasses import dataclass
from itertools import cycle
from typing import Any

import matplotlib
import pandas as pd
import seaborn
from matplotlib import font_manager

from bnblind.norm_facts import norm_facts

COLUMN = 3.4
"""Width of one journal column in inches; a figure is at most two wide."""


@dataclass(frozen=True)
class Look:
    """How a norm variant is drawn and called."""

    label: str
    color: str
    marker: str | tuple[int, int, int]

    @property
    def line(self) -> dict[str, Any]:
        """Matplotlib's keywords for a line through markers, named in the legend."""
        return {"color": self.color, "marker": self.marker, "label": self.label}

    @property
    def points(self) -> dict[str, Any]:
        """The same for markers alone, without a name."""
        return {"color": self.color, "marker": self.marker, "ls": ""}


# No norm, BN and LN as in Okabe & Ito's palette; the others lie as far from these, from each other
# and from TERM_COLORS as a search found for normal and for colour-blind sight.
_KNOWN = {
    "none": Look("none", "#000000", "o"),
    "bn": Look("BN", "#D55E00", "s"),
    "ln": Look("LN", "#0072B2", "^"),
    "gn": Look("GN", "#66B380", "D"),
    "in": Look("IN", "#00CCFF", "v"),
    "bn_center": Look("BN, centering only", "#CCB31A", "<"),
    "bn_scale": Look("BN, scaling only", "#991A00", ">"),
    "bn_affine": Look("BN, affine phase only", "#808080", "P"),
    "bn_detached": Look("BN, statistics detached", "#661A1A", "X"),
    "bn_frozen": Look("BN, statistics frozen", "#331A80", "p"),
    "bn_ema": Look("BN, running averages", "#4D1A4D", "d"),
    "bn_renorm": Look("Batch Renormalization", "#8080FF", "h"),
    "bn_zeroed": Look("BN, no gradient", "#4D33B3", "*"),
    "identity_blocked": Look("identity, BN's backward", "#FF99B3", "8"),
    "identity_blocked_scaled": Look("identity, BN's backward / sigma", "#4D4D4D", "H"),
    "identity_zeroed": Look("identity, no gradient", "#333333", "1"),
    "rms": Look("RMSNorm", "#803366", (4, 1, 0)),
    "dyt": Look("DyT", "#1A6633", (6, 1, 0)),
}
_SPARE_COLORS = ("#117733", "#882255", "#DDCC77", "#44AA99", "#661100", "#6699CC")
_SPARE_MARKERS = ("4", "+", "$+$", "$*$", "$o$")


def _looks() -> dict[str, Look]:
    """Of every norm; one that is not known here gets its name and a colour of its own."""
    further = [name for name in norm_facts() if name not in _KNOWN]
    spare = zip(further, cycle(_SPARE_COLORS), cycle(_SPARE_MARKERS))
    return _KNOWN | {name: Look(name, color, marker) for name, color, marker in spare}


LOOKS = _looks()

TERM_LABELS = {
    "first": "first order",
    "diag": "diagonal",
    "offdiag": "off-diagonal",
    "second": "second order",
    "remainder": "remainder",
    "total": "whole",
}
"""Names of the Taylor terms, of the second order as one and of the sum of all, in order."""

TERM_COLORS = {"first": "#663380", "diag": "#B33300", "offdiag": "#339999", "remainder": "#B3B366"}
"""Of the Taylor terms; no norm has them."""

FLOOR = 1e-18
"""What an exact zero is drawn as on a logarithmic scale."""

CONTROLS = [name for name, facts in norm_facts().items() if facts.control]
"""Variants that isolate what in BN blocks."""
BESIDE = {"none": "what passes without a norm", "bn": "what the controls isolate"}
"""Norms that are drawn beside the controls."""


def with_controls(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows by the ending of their figures' names: "" for the norms and, if there are any,
    "-controls" for the controls, beside them BN and no norm where they were trained. The columns
    ``norm`` and ``batching`` decide.
    """
    controls = table["norm"].isin(CONTROLS)
    groups = {"": table[~controls]}
    if controls.any():
        together = table["batching"].isin(table.loc[controls, "batching"])
        groups["-controls"] = table[controls | (table["norm"].isin(BESIDE) & together)]
    return groups


def use_style() -> None:
    """Set matplotlib to this project's style, regardless of the user's settings and fonts."""
    matplotlib.use("agg")
    matplotlib.rcdefaults()
    bundled = matplotlib.get_data_path()
    manager = font_manager.fontManager
    manager.ttflist = [font for font in manager.ttflist if font.fname.startswith(bundled)]
    seaborn.set_theme(
        context="paper",
        style="ticks",
        rc={
            # Drawn with matplotlib's own font; a viewer of an SVG without it takes the next.
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
            **dict.fromkeys(("font.size", "axes.titlesize", "axes.labelsize"), 8),
            **dict.fromkeys(("xtick.labelsize", "ytick.labelsize", "legend.fontsize"), 7),
            "legend.frameon": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "lines.linewidth": 1.2,
            "lines.markersize": 4,
            "figure.constrained_layout.use": True,
            "figure.constrained_layout.wspace": 0.05,
            "savefig.dpi": 300,
            "svg.hashsalt": "bnblind",
            "svg.fonttype": "none",
            "pdf.fonttype": 42,
        },
    )
