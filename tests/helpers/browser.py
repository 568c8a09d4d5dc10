"""A headless Chromium over its DevTools protocol: what a reader's browser sees of a page."""

import asyncio
import base64
import json
import re
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run")
SECONDS = 60

STATE = """(() => {
const outside = e => e.getBoundingClientRect().right
  > document.documentElement.clientWidth + 1;
const scrolls = e => e && (["auto", "scroll"].includes(getComputedStyle(e).overflowX)
  && !outside(e) && e !== document.body || scrolls(e.parentElement));
const shown = e => e.getClientRects().length > 0;
const all = chosen => [...document.querySelectorAll(chosen)].filter(shown);
const named = e => e.innerText || e.alt || e.tagName;
return JSON.stringify({
  images: [...document.images].map(i => [i.currentSrc.slice(0, 80), i.complete && i.naturalWidth]),
  pictures: [...document.images].map(i => [i.currentSrc, i.getBoundingClientRect().width]),
  lost: all("th, td, img, pre").filter(e => outside(e) && !scrolls(e)).map(named),
  hidden: all(".verdict, .cards td").filter(outside).map(named),
  cramped: all(".cards td").filter(e => e.innerText.length > 60
    && e.getBoundingClientRect().width < 200).map(named),
  width: document.documentElement.scrollWidth, window: window.innerWidth,
  smallest: Math.min(...[...document.querySelectorAll("p, td, th, li, figcaption, a")]
    .filter(e => e.innerText).map(e => parseFloat(getComputedStyle(e).fontSize))),
  anchors: [...document.querySelectorAll("a[href^='#']")].map(a => a.getAttribute("href").slice(1))
    .filter(id => !document.getElementById(id)),
}); })()"""

_SVG_WIDTH = re.compile(rb'<svg[^>]* width="([0-9.]+)pt"')
_SVG_TEXT = re.compile(rb"scale\((0\.[0-9]+) -")


def _content(address: str) -> bytes:
    """What lies behind a ``data:`` or ``file:`` address."""
    if address.startswith("data:"):
        return base64.b64decode(address.partition(",")[2])
    return Path(unquote(urlparse(address).path)).read_bytes()


def smallest_text(address: str, width: float) -> float | None:
    """Size in pixels of the smallest text in a picture shown so wide; None if it has none.

    Matplotlib draws a text of p points as outlines scaled by p / 100 points. Exponents and indices
    are smaller than their text and are not counted.
    """
    picture = _content(address)
    points, natural = _SVG_TEXT.findall(picture), _SVG_WIDTH.search(picture)
    if not points or natural is None:
        return None
    return 100 * min(map(float, points)) * width / float(natural[1])


@dataclass
class Seen:
    """What became of a page at one window width.

    Attributes:
        requests: every address asked for.
        errors: what the console and the network reported.
        state: ``images`` (address, natural width), ``pictures`` (whole address, width on the
            page), ``lost`` cells and pictures beyond the window's edge that no box scrolls to,
            ``hidden`` verdicts and ``cramped`` long texts of the claims' tables, ``width`` of the
            content and of the ``window`` in pixels, ``smallest`` font size of the text,
            ``anchors`` that lead nowhere.
    """

    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    def note(self, event: dict[str, Any]) -> None:
        """Take down one event of the protocol."""
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"])
            case "Network.loadingFailed":
                self.errors.append(params["errorText"])
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "assert"):
                self.errors.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])


class _Session:
    """One tab."""

    def __init__(self, socket: WebSocketClientConnection) -> None:
        self.socket, self.number, self.seen = socket, 0, Seen()

    async def _next(self) -> dict[str, Any]:
        message = await asyncio.wait_for(self.socket.read_message(), SECONDS)
        assert message is not None, "the browser closed the connection"
        event: dict[str, Any] = json.loads(message)
        self.seen.note(event)
        return event

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.write_message(
            json.dumps({"id": self.number, "method": method, "params": params})
        )
        while (event := await self._next()).get("id") != self.number:
            pass
        assert "error" not in event, event
        result: dict[str, Any] = event["result"]
        return result

    async def until(self, method: str) -> None:
        while (await self._next()).get("method") != method:
            pass


async def _look(port: int, pages: list[Path], widths: tuple[int, ...]) -> dict[Any, Seen]:
    listed = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
    tab = next(tab for tab in json.loads(listed.body) if tab["type"] == "page")
    socket = await websocket_connect(tab["webSocketDebuggerUrl"], max_message_size=2**28)
    session = _Session(socket)
    for domain in ("Page", "Network", "Runtime", "Log"):
        await session.call(f"{domain}.enable")
    found = {}
    for page in pages:
        for width in widths:
            session.seen = Seen()
            await session.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=900,
                deviceScaleFactor=1,
                mobile=width < 600,
            )
            await session.call("Page.navigate", url=page.absolute().as_uri())
            await session.until("Page.loadEventFired")
            answer = await session.call("Runtime.evaluate", expression=STATE)
            session.seen.state = json.loads(answer["result"]["value"])
            found[page, width] = session.seen
    socket.close()
    return found


def look_at(pages: list[Path], widths: tuple[int, ...]) -> dict[Any, Seen]:
    """Open each page at each window width; (page, width) -> what was seen.

    The browser listens on the loopback device only and is stopped by its process id.
    """
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        ports = Path(profile) / "DevToolsActivePort"
        browser = subprocess.Popen(
            # Not the browser's own first page, whose requests would be taken for the report's.
            [
                *(CHROMIUM, *FLAGS, f"--user-data-dir={profile}"),
                *("--remote-debugging-port=0", "about:blank"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + SECONDS
            while not (ports.is_file() and ports.read_text().strip()):
                assert browser.poll() is None, "the browser did not start"
                assert time.monotonic() < deadline, "the browser gave no port"
                time.sleep(0.1)
            return asyncio.run(_look(int(ports.read_text().split()[0]), pages, widths))
        finally:
            browser.terminate()
            browser.wait(SECONDS)
