"""The built site in headless Chromium: no page is wider than a narrow window, and the search works from the disk.

Not collected with the other tests: it needs Debian's `chromium` and the built site. `tests/website/run.sh` does all.
"""

from __future__ import annotations

import functools
import http.server
import json
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[2] / "site"
ALONE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
)
WIDTH = 480

MEASURE = """<!doctype html><title>waiting</title><iframe width=WIDTH height=800></iframe><script>
const pages = PAGES, wide = {}, frame = document.querySelector("iframe");
let at = -1;
function next() {
  if (++at < pages.length) frame.src = pages[at];
  else fetch("REPORT", {method: "POST", mode: "no-cors", body: JSON.stringify(wide)});
}
frame.addEventListener("load", () => {
  if (at < 0) return;
  const root = frame.contentDocument.documentElement;
  if (root.scrollWidth > WIDTH) wide[pages[at]] = root.scrollWidth;
  next();
});
next();
</script>"""

SEARCH = """<script>
window.addEventListener("load", () => setTimeout(() => {
  const field = document.querySelector(".md-search__input");
  field.focus();
  field.value = "krippendorff";
  field.dispatchEvent(new KeyboardEvent("keyup", {bubbles: true}));
  field.dispatchEvent(new Event("input", {bubbles: true}));
  const found = () => document.querySelector(".md-search-result__meta").innerText;
  const asked = found(), waiting = setInterval(() => {
    if (found() === asked) return;
    clearInterval(waiting);
    fetch("REPORT", {method: "POST", mode: "no-cors", body: found()});
  }, 200);
}, 1000));
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert (SITE / "index.html").exists(), "build it first: uv run --group site mkdocs build"
    return Path(shutil.copytree(SITE, tmp_path_factory.mktemp("site") / "site"))


class Server(http.server.ThreadingHTTPServer):
    """The site on this machine (frames of files are hidden from each other), and the mailbox of its pages."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.reported: queue.Queue[str] = queue.Queue()

    def report_of(self, address: str, profile: Path) -> str:
        """The text that a page sends back. Chromium is stopped then: its own end, once a page is idle, may never come."""
        chromium = shutil.which("chromium")
        assert chromium, "install Debian's package chromium, or use tests/website/run.sh"
        with subprocess.Popen(
            [chromium, *ALONE, f"--user-data-dir={profile}", address],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as browser:
            try:
                return self.reported.get(timeout=240)
            finally:
                browser.kill()


class Handler(http.server.SimpleHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        self.server.reported.put(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Requests are not printed."""


@pytest.fixture(scope="module")
def server(site: Path) -> Iterator[Server]:
    with Server(site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_no_page_is_wider_than_a_narrow_window(site: Path, server: Server, tmp_path: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) > 40
    text = MEASURE.replace("WIDTH", str(WIDTH)).replace("PAGES", json.dumps([*pages, "wide.html"]))
    text = text.replace("REPORT", server.address)
    (site / "wide.html").write_text("<div style='width: 900px'>wide</div>", encoding="utf-8")
    (site / "measure.html").write_text(text, encoding="utf-8")
    assert json.loads(server.report_of(f"{server.address}/measure.html", tmp_path)) == {"wide.html": 908}


def test_the_search_works_from_the_disk(site: Path, server: Server, tmp_path: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    (site / "searched.html").write_text(
        home.replace("</body>", SEARCH.replace("REPORT", server.address)), encoding="utf-8"
    )
    found = server.report_of((site / "searched.html").as_uri(), tmp_path)
    assert re.fullmatch(r"[1-9]\d* matching documents?", found), found


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"', text)
        assert fetched == [], path
