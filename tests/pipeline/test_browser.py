"""Every page of the report in a browser: complete, readable, and without a request outside."""

from pathlib import Path

import pytest

from tests.pipeline.browser import CHROMIUM, Seen, look_at
from tests.pipeline.clones import Clone

WIDTHS = (1280, 390)

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")


@pytest.fixture(scope="module")
def seen(first: Clone) -> dict[tuple[Path, int], Seen]:
    pages = [
        first.path / "reports/index.html",
        *sorted((first.path / "reports/pages").glob("*.html")),
    ]
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
