"""Every page of the report in a browser: complete, readable, and without a request outside."""

import os
from pathlib import Path

import pytest

from tests.helpers.browser import CHROMIUM, Seen, look_at, smallest_text
from tests.helpers.clones import Clone

WIDTHS = (1280, 390)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest) -> Path:
    """A finished report: that in the folder ``BNBLIND_REPORTS`` if this is set, else a clone's."""
    if given := os.environ.get("BNBLIND_REPORTS"):
        return Path(given)
    first: Clone = request.getfixturevalue("first")
    return first.path / "reports"


@pytest.fixture(scope="module")
def seen(reports: Path) -> dict[tuple[Path, int], Seen]:
    pages = [reports / "index.html", *sorted((reports / "pages").glob("*.html"))]
    assert len(pages) >= 5
    return look_at(pages, WIDTHS)


def test_no_error_and_no_request_outside(seen: dict[tuple[Path, int], Seen]) -> None:
    for (page, _), found in seen.items():
        assert not found.errors, (page, found.errors)
        assert found.requests[0] == page.absolute().as_uri()
        outside = [url[:80] for url in found.requests if not url.startswith(("file:", "data:"))]
        assert not outside, (page, outside)


def test_every_image_is_drawn_and_every_anchor_leads_somewhere(
    seen: dict[tuple[Path, int], Seen],
) -> None:
    for (page, _), found in seen.items():
        missing = [address for address, width in found.state["images"] if not width]
        assert not missing, (page, missing)
        assert not found.state["anchors"], page


def test_pages_fit_their_window_and_can_be_read(seen: dict[tuple[Path, int], Seen]) -> None:
    """Tables scroll inside themselves; the page itself never does sideways."""
    for (page, width), found in seen.items():
        assert found.state["window"] == width
        assert found.state["width"] <= width, (page, width, found.state["width"])
        assert found.state["smallest"] >= 11, (page, found.state["smallest"])


def test_nothing_is_lost_at_the_edge_and_no_verdict_needs_scrolling(
    seen: dict[tuple[Path, int], Seen],
) -> None:
    for (page, width), found in seen.items():
        assert not found.state["lost"], (page, width, found.state["lost"])
        assert not found.state["hidden"], (page, width, found.state["hidden"])
        assert not found.state["cramped"], (page, width, found.state["cramped"])


def test_the_text_of_figures_can_be_read(seen: dict[tuple[Path, int], Seen]) -> None:
    measured = 0
    for (page, width), found in seen.items():
        for address, shown in found.state["pictures"]:
            size = smallest_text(address, shown)
            measured += size is not None
            assert size is None or size >= 8.7, (page, width, address[:80], size)
    assert measured >= 2 * len(WIDTHS)


def test_a_broken_page_is_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<p style='font-size: 5px; width: 2000px'>small</p><img src='gone.png'>"
        "<a href='#nowhere'>x</a><script src='http://127.0.0.1:9/x.js'></script>"
        "<script>console.error('no')</script>"
    )
    (found,) = look_at([page], (390,)).values()
    assert any("no" in error for error in found.errors)
    assert "http://127.0.0.1:9/x.js" in found.requests
    assert [width for _, width in found.state["images"]] == [0]
    assert found.state["anchors"] == ["nowhere"]
    assert found.state["smallest"] == 5
    assert found.state["width"] > 390


FIGURE = """<svg xmlns="http://www.w3.org/2000/svg" width="300pt" height="30pt">
<g transform="translate(9 9) scale(0.07 -0.07)"><path d="M0 0L9 9"/></g></svg>"""
TABLE = "<table class=cards><tr><td><i class=verdict>x</i><td><div style='width:{}px'>t</table>"


def test_small_figure_text_and_lost_columns_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "f.svg").write_text(FIGURE)
    page = tmp_path / "page.html"
    page.write_text(
        "<meta name=viewport content='width=device-width'>"
        "<img src='f.svg' style='width: 200px'>"
        "<img src='f.svg' style='width: 400px; display: block'>"
        f"<div style='overflow: hidden'>{TABLE.format(500)}</div>"
        f"<div style='overflow: auto'>{TABLE.format(600)}</div>"
        f"<table class=cards><tr><td style='max-width: 50px'>{'word ' * 20}</table>"
    )
    (found,) = look_at([page], (390,)).values()
    sizes = [smallest_text(*picture) for picture in found.state["pictures"]]
    assert sizes == [pytest.approx(7 * 200 / 300), pytest.approx(7 * 400 / 300)]
    assert found.state["lost"] == ["IMG", "t"], "a box that scrolls loses nothing"
    assert found.state["hidden"] == ["t", "t"]
    assert len(found.state["cramped"]) == 1
