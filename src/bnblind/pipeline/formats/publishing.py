"""A figure as files: SVG, PDF, PNG and, beside them, the numbers drawn as CSV."""

import base64
import hashlib
import io
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape, unescape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from bnblind.pipeline.formats.files import publish
from bnblind.pipeline.paths import FIGURE_FORMATS

# Dates would differ from run to run.
_METADATA: dict[str, dict[str, None]] = {
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "ModDate": None},
    "png": {},
}
SOURCE_KEYS = {"svg": "Source", "pdf": "Subject", "png": "Source"}
"""The metadata of a picture that say what it was made from."""
SOURCE = "BNBLIND_SOURCE"
"""The variable by which the step that executes a notebook hands its kernel that text."""

READABLE = 8.8
"""Pixels below which no text of a figure shrinks on a narrow screen."""
_WIDTH = re.compile(rb'<svg[^>]* width="([0-9.]+)pt"')
_TEXT = re.compile(rb"font-size: ([0-9.]+)px")
"""Matplotlib's pixels are the picture's points."""

_CAPTION = re.compile(r"<dc:description>(.*?)</dc:description>", re.DOTALL)


def caption_of(svg: bytes) -> str:
    """The caption that a published figure carries."""
    found = _CAPTION.search(svg.decode())
    return unescape(found[1]) if found else ""


def readable_width(svg: bytes) -> str:
    """The CSS width at which the figure's smallest text is ``READABLE`` pixels high."""
    found = _WIDTH.search(svg)
    assert found is not None, "not a figure of matplotlib"
    points = min((float(size) for size in _TEXT.findall(svg)), default=float("inf"))
    return f"{float(found[1]) * READABLE / points / 16:.1f}rem"


@dataclass(frozen=True)
class PublishedFigure:
    """What a notebook shows: the picture, a caption and links to its files."""

    svg: bytes
    caption: str
    stem: str
    inches: float

    def _repr_html_(self) -> str:
        picture = base64.b64encode(self.svg).decode()
        links = " · ".join(
            f'<a href="../figures/{self.stem}.{suffix}">{suffix.upper()}</a>'
            for suffix in FIGURE_FORMATS
        )
        return (
            f'<figure id="{self.stem}"><div class="scroll"><img alt="{escape(self.caption)}" '
            f'style="width: {8 * self.inches:.1f}rem; min-width: {readable_width(self.svg)}" '
            f'src="data:image/svg+xml;base64,{picture}"></div>'
            f"<figcaption>{escape(self.caption)} <small>{links}</small></figcaption></figure>"
        )


def source_text(rule: str, configuration: Mapping[str, Any], inputs: Iterable[Path]) -> str:
    """What a figure is made from: rule, part of the configuration, files with sha256; as JSON."""
    hashes = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in inputs}
    return json.dumps({"rule": rule, "configuration": dict(configuration), "inputs": hashes})


def figure_bytes(figure: Figure, suffix: str, source: str = "", caption: str = "") -> bytes:
    """The figure in the format ``suffix``, the same bytes at every call; SVG holds the caption."""
    buffer = io.BytesIO()
    told = {SOURCE_KEYS[suffix]: source} if source else {}
    told |= {"Description": caption} if caption and suffix == "svg" else {}
    figure.savefig(buffer, format=suffix, metadata=_METADATA[suffix] | told)
    return buffer.getvalue()


def publish_figure(
    figure: Figure, drawn: pd.DataFrame, figures: str, stem: str, caption: str
) -> PublishedFigure:
    """Write ``figures/stem.{svg,pdf,png,csv}``, the numbers ``drawn`` in the last, and return what
    a notebook shows of it. The pictures' metadata hold the :func:`source_text` that the variable
    ``SOURCE`` has.
    """
    source = os.environ.get(SOURCE, "")
    pictures = {suffix: figure_bytes(figure, suffix, source, caption) for suffix in _METADATA}
    table = drawn.to_csv(index=False, lineterminator="\n").encode()
    publish(
        {Path(figures) / f"{stem}.{suffix}": c for suffix, c in {**pictures, "csv": table}.items()}
    )
    return PublishedFigure(pictures["svg"], caption, stem, figure.get_figwidth())
