"""Every page of the report in a browser: complete, readable by everybody, and without a request
outside.
"""

import base64
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from tests.helpers.clones import Clone

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
WIDTHS = (390, 800, 1400)
PATIENCE = 300_000
"""Milliseconds that a busy machine may take."""
OUTSIDE = ("https://arxiv.org/", "https://doi.org/")
"""Where a reader may be led; nothing is loaded from there."""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium")

STATE = """() => {
const outside = e => e.getBoundingClientRect().right
  > document.documentElement.clientWidth + 1;
const scrolls = e => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX)
  && !outside(e) && e !== document.body || scrolls(e.parentElement));
const shown = e => e.getClientRects().length > 0;
const all = chosen => [...document.querySelectorAll(chosen)].filter(shown);
const named = e => e.innerText || e.alt || e.tagName;
return {
  images: [...document.images].map(i => [i.currentSrc.slice(0, 80), i.complete && i.naturalWidth]),
  pictures: [...document.images].map(i => [i.currentSrc, i.getBoundingClientRect().width]),
  lost: all("th, td, img, pre, math").filter(e => outside(e) && !scrolls(e)).map(named),
  hidden: all(".verdict, .cards td").filter(outside).map(named),
  cramped: all(".cards td").filter(e => e.innerText.length > 60
    && e.getBoundingClientRect().width < 200).map(named),
  width: document.documentElement.scrollWidth, window: window.innerWidth,
  smallest: Math.min(...[...document.querySelectorAll("p, td, th, li, figcaption, a")]
    .filter(e => e.innerText).map(e => parseFloat(getComputedStyle(e).fontSize))),
  anchors: [...document.querySelectorAll("[id]")].map(e => e.id),
  links: [...document.querySelectorAll("a[href]")].map(a => a.href),
}; }"""


@dataclass
class Seen:
    """What became of a page at one window width.

    Attributes:
        requests: every address asked for, at any width.
        errors: what the console and the network reported, at any width.
        state: ``images`` (address, natural width), ``pictures`` (whole address, width on the
            page), ``lost`` cells and pictures beyond the window's edge that no box scrolls to,
            ``hidden`` verdicts and ``cramped`` long texts of the claims' tables, ``width`` of the
            content and of the ``window`` in pixels, ``smallest`` font size of the text, the
            ``anchors`` that it has, the addresses that its ``links`` lead to.
        barriers: what axe finds at the narrowest and the widest, there of contrast in the dark
            scheme, too.
    """

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)
    barriers: list[str] = field(default_factory=list)


Views = dict[tuple[Path, int], Seen]
"""By page and width."""


def barriers(page: Page, *rules: str) -> Iterator[str]:
    """What keeps somebody from reading the page, by axe's rules: these, or all. The later rows of a
    long table are like its first.
    """
    only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    options = {"resultTypes": ["violations"], **only}
    context = {"exclude": [["tbody tr:nth-child(n+9)"]]}
    for found in Axe().run(page, context, options).response["violations"]:
        for node in found["nodes"][:3]:
            yield f"{found['id']}: {node['target']} {node['html'][:120]}"


def look_at(browser: Browser, pages: Iterable[Path], widths: Sequence[int]) -> Views:
    """Open each page, make its window that wide, and switch it to the dark scheme."""
    found: Views = {}
    context = browser.new_context()
    for path in pages:
        page, requests, errors = context.new_page(), [], []
        page.on("request", lambda asked, to=requests: to.append(asked.url))
        page.on("requestfailed", lambda asked, to=errors: to.append(asked.url))
        page.on("pageerror", lambda error, to=errors: to.append(str(error)))
        page.on("console", lambda said, to=errors: to.append(f"{said.type}: {said.text}"))
        page.goto(path.absolute().as_uri(), timeout=PATIENCE)
        for width in widths:
            page.set_viewport_size({"width": width, "height": 900})
            seen = found[path, width] = Seen(requests, errors, page.evaluate(STATE))
            if width in (widths[0], widths[-1]):
                seen.barriers += barriers(page)
        page.emulate_media(color_scheme="dark")
        seen.barriers += barriers(page, "color-contrast", "link-in-text-block")
        page.close()
    context.close()
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"], timeout=PATIENCE
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def reports(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished report: that in the folder ``BNBLIND_REPORTS`` if this is set, else a clone's,
    with its receipt.
    """
    if given := os.environ.get("BNBLIND_REPORTS"):
        return Path(given)
    first: Clone = request.getfixturevalue("first")
    folder = tmp_path_factory.mktemp("a report") / "run"
    shutil.copytree(first.path, folder, symlinks=True)
    # It differs from the published one, whose profile is another.
    Clone(folder, first.environment).attempt(
        "env", "PYTHONPATH=src", "python", "-m", "bnblind", "receipt"
    )
    return folder / "reports"


@pytest.fixture(scope="module")
def seen(browser: Browser, reports: Path) -> Views:
    pages = sorted(reports.rglob("*.html"))
    assert len(pages) >= 8
    return look_at(browser, pages, WIDTHS)


def test_no_error_and_no_request_outside(seen: Views) -> None:
    for (page, _), found in seen.items():
        assert not found.errors, (page, found.errors)
        assert found.requests[0] == page.absolute().as_uri()
        outside = [url[:80] for url in found.requests if not url.startswith(("file:", "data:"))]
        assert not outside, (page, outside)


def test_every_image_is_drawn(seen: Views) -> None:
    for (page, _), found in seen.items():
        missing = [address for address, width in found.state["images"] if not width]
        assert not missing, (page, missing)


def dead_links(seen: Views) -> list[tuple[str, str]]:
    """The links that lead to no file, to no place in a page, or outside."""
    anchors = {
        page.absolute().as_uri(): found.state["anchors"] for (page, _), found in seen.items()
    }
    dead = []
    for (page, _), found in seen.items():
        for link in found.state["links"]:
            address, _, anchor = link.partition("#")
            file = Path(unquote(urlsplit(address).path))
            there = link.startswith("file:") and file.is_file()
            if anchor:
                there = there and anchors.get(address, []).count(unquote(anchor)) == 1
            if not (there or link.startswith(OUTSIDE)):
                dead.append((page.name, link))
    return dead


def test_every_link_leads_somewhere(seen: Views) -> None:
    assert not dead_links(seen)


def test_every_page_leads_to_every_other(seen: Views, reports: Path) -> None:
    """From the first page, without going back."""
    led = {page.resolve(): found.state["links"] for (page, _), found in seen.items()}
    known, waiting = set(), [(reports / "index.html").resolve()]
    while waiting:
        page = waiting.pop()
        if page in led and page not in known:
            known.add(page)
            waiting += [Path(unquote(urlsplit(link).path)) for link in led[page]]
    assert known == {*led}


def test_everybody_can_read_the_pages(seen: Views) -> None:
    found = {(page.name, width): look.barriers for (page, width), look in seen.items()}
    assert not {page: barred for page, barred in found.items() if barred}


def test_pages_fit_their_window_and_can_be_read(seen: Views) -> None:
    """Tables scroll inside themselves; the page itself never does sideways."""
    for (page, width), found in seen.items():
        assert found.state["window"] == width
        assert found.state["width"] <= width, (page, width, found.state["width"])
        assert found.state["smallest"] >= 11, (page, found.state["smallest"])


def test_nothing_is_lost_at_the_edge_and_no_verdict_needs_scrolling(seen: Views) -> None:
    for (page, width), found in seen.items():
        assert not found.state["lost"], (page, width, found.state["lost"])
        assert not found.state["hidden"], (page, width, found.state["hidden"])
        assert not found.state["cramped"], (page, width, found.state["cramped"])


def smallest_text(address: str, width: float) -> float | None:
    """Size in pixels of the smallest text in a picture shown so wide; None if it has none.
    Matplotlib's pixels are the picture's points.
    """
    inside = address.startswith("data:")
    file = Path(unquote(urlsplit(address).path))
    picture = base64.b64decode(address.partition(",")[2]) if inside else file.read_bytes()
    points = re.findall(rb"font-size: ([0-9.]+)px", picture)
    natural = re.search(rb'<svg[^>]* width="([0-9.]+)pt"', picture)
    if not points or natural is None:
        return None
    return min(map(float, points)) * width / float(natural[1])


def test_the_text_of_figures_can_be_read(seen: Views) -> None:
    measured = 0
    for (page, width), found in seen.items():
        for address, shown in found.state["pictures"]:
            size = smallest_text(address, shown)
            measured += size is not None
            assert size is None or size >= 8.7, (page, width, address[:80], size)
    assert measured >= 2 * len(WIDTHS)


@pytest.fixture
def opened(browser: Browser, reports: Path) -> Iterator[Callable[[str], Page]]:
    """Opens a page of the report."""
    context = browser.new_context(viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE)

    def open_page(name: str) -> Page:
        page = context.new_page()
        page.goto((reports / name).absolute().as_uri())
        return page

    yield open_page
    context.close()


def styles(page: Page, chosen: str, name: str) -> set[str]:
    """The values of a style that elements have."""
    found = page.evaluate(
        "([chosen, name]) => [...document.querySelectorAll(chosen)]"
        ".map(e => getComputedStyle(e)[name])",
        [chosen, name],
    )
    return {*found}


def test_the_dark_scheme_is_dark_and_figures_keep_their_white(opened: Callable) -> None:
    page = opened("pages/theorems.html")
    light = styles(page, "body", "backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert light == {"rgb(255, 255, 255)"}
    (dark,) = styles(page, "body", "backgroundColor")
    assert max(map(int, re.findall(r"\d+", dark))) < 50
    assert styles(page, "figure img", "backgroundColor") == {"rgb(255, 255, 255)"}


def test_on_paper_pages_are_light_and_no_heading_is_left_behind(opened: Callable) -> None:
    page = opened("pages/theorems.html")
    page.emulate_media(media="print", color_scheme="dark")
    assert styles(page, "body", "backgroundColor") == {"rgb(255, 255, 255)"}
    assert styles(page, "h1, h2, h3", "breakAfter") == {"avoid"}
    assert styles(page, "figure, tr", "breakInside") == {"avoid"}
    assert styles(page, "header, .contents, .around", "display") == {"none"}


def test_the_keyboard_reaches_the_text_first(opened: Callable) -> None:
    page = opened("pages/theorems.html")
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    assert skip.inner_text() == "Skip to the text"
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    page.wait_for_url("**/theorems.html#text")
    page.keyboard.press("Tab")
    assert page.locator("main :focus").count() == 1
    assert styles(page, ":focus", "outlineStyle") == {"solid"}


def test_pages_follow_one_another(opened: Callable, reports: Path) -> None:
    """Along the links to the next page, all that show a notebook; back along the others."""
    page, names = opened("pages/theorems.html"), ["theorems"]
    while (link := page.locator("a[rel=next]")).count():
        names.append(Path(link.get_attribute("href")).stem)
        link.click()
        page.wait_for_url(f"**/{names[-1]}.html")
    assert sorted(names) == sorted(path.stem for path in (reports / "pages").glob("*.ipynb"))
    for name in reversed(names[:-1]):
        page.locator("a[rel=prev]").click()
        page.wait_for_url(f"**/{name}.html")


def test_the_rows_of_a_verdict_are_shown_alone(opened: Callable) -> None:
    page = opened("pages/claims.html")
    rows = page.locator("tr[data-verdict]")
    of_rows = rows.evaluate_all("all => all.map(e => e.dataset.verdict)")
    strips = page.locator(".all a[data-verdict]")
    assert strips.evaluate_all("all => all.map(e => e.dataset.verdict)") == of_rows
    for chosen in page.locator(".filter input").all():
        verdict = chosen.get_attribute("value")
        chosen.check()
        shown = rows.filter(visible=True)
        verdicts = shown.evaluate_all("all => all.map(e => e.dataset.verdict)")
        assert verdicts == [own for own in of_rows if verdict in ("all", own)]
        opacities = strips.evaluate_all("all => all.map(e => +getComputedStyle(e).opacity)")
        assert sum(opacity < 1 for opacity in opacities) == len(of_rows) - len(verdicts)
        claims = page.locator("section").filter(visible=True)
        assert claims.count() == claims.filter(has=shown).count()
        for strip in strips.all()[:: len(of_rows) // 5]:
            strip.click()  # to its row, whatever is shown
            assert page.locator(":target").is_visible()
            assert page.locator(":target").get_attribute("id") == strip.get_attribute("href")[1:]
        page.evaluate("location.hash = 'all'")


def test_what_batch_norm_blocks_moves_with_the_batch(opened: Callable) -> None:
    """The shares are T4's: label-pure and alike, nothing passes; foreign samples, a small spread
    and differences let some through, of which 2/n is blocked.
    """
    page = opened("pages/explore.html")

    def shares(**moved: float) -> list[float]:
        for name, value in moved.items():
            page.locator(f"#{name}").fill(str(value))
        texts = [page.locator(f"#{name}").inner_text() for name in ("mean", "scale", "passing")]
        found = [float(text.split()[0]) / 100 for text in texts]
        assert sum(found) == pytest.approx(1, abs=2e-3)
        widths = page.locator(".bar i").evaluate_all("all => all.map(e => e.style.width)")
        assert [float(w[:-1]) / 100 for w in widths] == pytest.approx(found, abs=1e-3)
        return found

    arrives = page.locator("#arrives").get_attribute("d")
    assert shares(purity=1) == pytest.approx([0.8, 0.2, 0], abs=1e-3), "1 and 1/4 of 5/4"
    mean, _, passing = shares(purity=0.5)
    assert mean < 0.01
    assert passing > 0.5
    assert page.locator("#arrives").get_attribute("d") != arrives
    # var = eps: y is half as long squared, so G's part along it is 1/8 of 1 + 1/8, and the share
    # (1 - 1/2)^2 of that passes.
    _, _, leak = shares(purity=1, spread=-2.5)
    assert leak == pytest.approx(0.25 * 0.125 / 1.125, abs=1e-3)
    passed = [shares(spread=0, n=n, differ=2)[2] for n in (4, 64)]
    assert passed[0] < passed[1]


def test_a_broken_page_is_noticed(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text(
        "<p style='font-size: 5px; width: 2000px'>small</p><img src='gone.png'>"
        "<a href='#nowhere'>x</a><a href='gone.html'>x</a><a href='http://127.0.0.1:9'>x</a>"
        "<a href='page.html'>x</a><script src='http://127.0.0.1:9/x.js'></script>"
        "<script>console.error('no'); gone()</script>"
        "<p style='color: light-dark(#000, #555); background: light-dark(#fff, #444)'>dim</p>"
        "<meta name=color-scheme content='light dark'>"
    )
    seen = look_at(browser, [page], (390,))
    (found,) = seen.values()
    assert "error: no" in found.errors
    assert any("gone is not defined" in error for error in found.errors)
    assert "http://127.0.0.1:9/x.js" in found.requests
    assert [width for _, width in found.state["images"]] == [0]
    assert [link[-9:] for _, link in dead_links(seen)] == ["l#nowhere", "gone.html", ".0.0.1:9/"]
    assert found.state["smallest"] == 5
    assert found.state["width"] > 390
    rules = {barred.partition(":")[0] for barred in found.barriers}
    assert {"image-alt", "html-has-lang", "document-title", "color-contrast"} <= rules


FIGURE = """<svg xmlns="http://www.w3.org/2000/svg" width="300pt" height="30pt">
<text style="font-size: 7px; font-family: serif" x="9" y="9">text</text></svg>"""
TABLE = "<table class=cards><tr><td><i class=verdict>x</i><td><div style='width:{}px'>t</table>"


def test_small_figure_text_and_lost_columns_are_noticed(browser: Browser, tmp_path: Path) -> None:
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
    (found,) = look_at(browser, [page], (390,)).values()
    sizes = [smallest_text(*picture) for picture in found.state["pictures"]]
    assert sizes == [pytest.approx(7 * 200 / 300), pytest.approx(7 * 400 / 300)]
    assert found.state["lost"] == ["IMG", "t"], "a box that scrolls loses nothing"
    assert found.state["hidden"] == ["t", "t"]
    assert len(found.state["cramped"]) == 1
