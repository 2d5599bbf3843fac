"""The page in headless Chromium: what it shows, and what sorting and filtering do.

Not collected with the other tests: it needs Debian's `chromium`. `tests/figures/page/run.sh` installs it and runs this.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.figures.page.test_page import SPEC, write_tables
from vitfaith.stages.page import run_page

ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=2000"),
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    write_tables(folder)
    run_page(SPEC, "", folder, folder / "page.html")
    return folder / "page.html"


def rendered(page: Path, actions: str = "") -> str:
    """The document after its script and ``actions`` ran, with errors of either at its end."""
    watched = "<script>window.addEventListener('error', (e) => { document.title = 'ERROR ' + e.message; });</script>"
    text = page.read_text().replace("<head>", f"<head>{watched}")
    changed = page.with_name("changed.html")
    changed.write_text(text.replace("</body>", f"<script>{actions}</script></body>"))
    chromium = shutil.which("chromium")
    assert chromium, "install Debian's package chromium, or use tests/figures/page/run.sh"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [chromium, *ALONE, profile, "--dump-dom", changed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "<title>ERROR" not in done.stdout, done.stdout[:2000]
    return done.stdout


def methods(document: str) -> list[str]:
    return re.findall(r'<tr class="[^"]*" data-method="([^"]+)"', document)


def pick(name: str, value: str) -> str:
    return f"{{const s = document.getElementById('choose-{name}'); s.value = {value!r}; s.dispatchEvent(new Event('change'));}}"


def test_first_view(page: Path) -> None:
    document = rendered(page)
    assert methods(document) == ["rollout", "raw_attention", "random"]
    assert "0.500" in document
    assert "[0.400, 0.600]" in document
    assert document.count("data-line=") == 3
    assert len(re.findall(r'<img[^>]+src="data:image/png', document)) == 3 * (1 + 3)
    assert "http://www.w3.org" in document or "<svg" in document
    assert not re.search(r'(?:src|href)="(?!data:)', document), "the page reaches outside"


def test_sorting(page: Path) -> None:
    by_name = "document.querySelector('[data-sort=method]').click();"
    assert methods(rendered(page, by_name)) == ["random", "raw_attention", "rollout"]
    assert methods(rendered(page, by_name * 2)) == [
        "rollout",
        "raw_attention",
        "random",
    ]


def test_filters(page: Path) -> None:
    attacked = rendered(page, pick("attack", "pgd"))
    assert methods(attacked) == ["raw_attention", "random", "rollout"]
    assert "−0.200" in attacked
    lower = rendered(page, pick("metric", "deletion_auc\x01\x01"))
    assert methods(lower) == ["random", "raw_attention", "rollout"]
    assert "Lower is better" in lower


def test_hiding_a_line(page: Path) -> None:
    document = rendered(page, "document.querySelector('.legend button').click();")
    assert document.count("data-line=") == 2
    assert document.count('<button aria-pressed="false"') == 1
