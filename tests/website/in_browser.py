"""The built site in headless Chromium: no page is wider than a narrow window, and the search works from the disk.

Not collected with the other tests: it needs Debian's `chromium` and the built site. `tests/website/run.sh` does all.
"""

from __future__ import annotations

import functools
import http.server
import json
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
  else document.title = "done " + JSON.stringify(wide);
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
  setTimeout(() => { document.title = "found " + document.querySelector(".md-search-result__meta").innerText; }, 3000);
}, 1000));
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    assert (SITE / "index.html").exists(), "build it first: uv run --group site mkdocs build"
    return Path(shutil.copytree(SITE, tmp_path_factory.mktemp("site") / "site"))


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    """Address of the site on this machine: frames of files are hidden from each other."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(site))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


def title(address: str, profile: Path, milliseconds: int) -> str:
    """Title of the document after its scripts had time to run."""
    chromium = shutil.which("chromium")
    assert chromium, "install Debian's package chromium, or use tests/website/run.sh"
    options = (f"--user-data-dir={profile}", f"--virtual-time-budget={milliseconds}", "--dump-dom")
    done = subprocess.run(
        [chromium, *ALONE, *options, address], capture_output=True, text=True, timeout=300, check=True
    )
    return re.search(r"<title>(.*?)</title>", done.stdout)[1]  # type: ignore[index]


def test_no_page_is_wider_than_a_narrow_window(site: Path, served: str, tmp_path: Path) -> None:
    pages = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    assert len(pages) > 40
    text = MEASURE.replace("WIDTH", str(WIDTH)).replace("PAGES", json.dumps([*pages, "wide.html"]))
    (site / "wide.html").write_text("<div style='width: 900px'>wide</div>", encoding="utf-8")
    (site / "measure.html").write_text(text, encoding="utf-8")
    assert title(f"{served}/measure.html", tmp_path, 120_000) == 'done {"wide.html":908}'


def test_the_search_works_from_the_disk(site: Path, tmp_path: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    (site / "searched.html").write_text(home.replace("</body>", SEARCH), encoding="utf-8")
    found = title((site / "searched.html").as_uri(), tmp_path, 10_000)
    assert re.fullmatch(r"found [1-9]\d* matching documents?", found), found


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        fetched = re.findall(r'<(?:script|img|link|iframe)[^>]+(?:src|href)="((?:https?:)?//[^"]+)"', text)
        assert fetched == [], path
