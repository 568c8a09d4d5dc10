"""Colours are told apart, also by readers who see fewer of them."""

from collections.abc import Iterable
from itertools import chain, combinations, product

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from bnblind.figures.derivatives import READINGS
from bnblind.figures.style import LOOKS, TERM_COLORS
from bnblind.figures.theorems import CATEGORIES, CELLS
from bnblind.probe_figures import SHARES
from tests.conftest import ROOT

SIGHTS = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
"""What is seen of linear sRGB: Machado, Oliveira and Fernandes (2009), severity 1."""
XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def lab(color: str, sight: str) -> np.ndarray:
    """CIELAB (D65) of a colour as seen with that sight."""
    rgb = np.array(to_rgb(color))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = XYZ @ np.clip(SIGHTS[sight] @ linear, 0, 1) / WHITE
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def difference(first: np.ndarray, second: np.ndarray) -> float:
    """CIEDE2000, in the words of Sharma, Wu and Dalal (2005)."""
    (l1, a1, b1), (l2, a2, b2) = first, second
    c7 = ((np.hypot(a1, b1) + np.hypot(a2, b2)) / 2) ** 7
    grey = 1.5 - 0.5 * np.sqrt(c7 / (c7 + 25**7))
    c1, c2 = np.hypot(grey * a1, b1), np.hypot(grey * a2, b2)
    h1, h2 = (np.degrees(np.arctan2(b, grey * a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    lightness, chroma, hue = (l1 + l2) / 2, (c1 + c2) / 2, np.radians(h1 + turn / 2)
    if not c1 * c2:
        hue = np.radians(h1 + h2)
    t = 1 - 0.17 * np.cos(hue - np.radians(30)) + 0.24 * np.cos(2 * hue)
    t += 0.32 * np.cos(3 * hue + np.radians(6)) - 0.2 * np.cos(4 * hue - np.radians(63))
    s_l = 1 + 0.015 * (lightness - 50) ** 2 / np.sqrt(20 + (lightness - 50) ** 2)
    d_l, d_c = (l2 - l1) / s_l, (c2 - c1) / (1 + 0.045 * chroma)
    d_h = 2 * np.sqrt(c1 * c2) * np.sin(np.radians(turn / 2)) / (1 + 0.015 * chroma * t)
    bend = np.radians(60 * np.exp(-(((np.degrees(hue) % 360 - 275) / 25) ** 2)))
    rotation = -2 * np.sqrt(chroma**7 / (chroma**7 + 25**7)) * np.sin(bend)
    return float(np.sqrt(d_l**2 + d_c**2 + d_h**2 + rotation * d_c * d_h))


def smallest(pairs: Iterable[tuple[str, str]]) -> float:
    """The smallest difference of the pairs' colours with any sight."""
    return min(difference(lab(a, s), lab(b, s)) for a, b in pairs for s in SIGHTS)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.5, 0), (50, 0, -2.5), 4.3065),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ],
)
def test_the_difference_is_ciede2000(
    first: tuple[float, ...], second: tuple[float, ...], expected: float
) -> None:
    """Sharma, Wu and Dalal's own cases."""
    assert difference(np.array(first), np.array(second)) == pytest.approx(expected, abs=1e-4)


NORMS = {name: look.color for name, look in LOOKS.items()}


def test_the_palette_holds_for_every_sight_as_the_documents_state() -> None:
    """Differences from 5 on are seen at a glance; in a figure, norms also differ by marker."""
    readings = [color for _, color, *_ in READINGS.values()]
    shares = [color for _, color in SHARES.values()]
    kinds = ([*TERM_COLORS.values()], readings, shares)
    found = {
        "norms": smallest(combinations(NORMS.values(), 2)),
        "terms": min(smallest(combinations(own, 2)) for own in kinds),
        "others": smallest(product(chain(*kinds), NORMS.values())),
    }
    assert min(found.values()) > 5
    text = " ".join((ROOT / "docs/running.md").read_text().split())
    assert (
        "{norms:.1f} between two norms, {terms:.1f} between two terms or shares and {others:.1f} "
        "between one of these and a norm".format(**found)
    ) in text


def test_categories_of_the_theorems_have_colours_that_no_norm_has() -> None:
    own = {look["color"] for look in CATEGORIES.values()} | {*CELLS.values()}
    assert not {to_rgb(color) for color in own} & {to_rgb(color) for color in NORMS.values()}
