"""The page in headless Chromium: what it shows, and what choosing, sorting, filtering and downloading do, wide and narrow.

Not collected with the other tests: it needs Debian's `chromium`. `tests/figures/page/run.sh` installs it and runs this.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.figures.page.toy import SPEC, write_tables
from vitfaith.stages.page import run_page

ALONE = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=4000"),
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
    watched += "<script>document.addEventListener('securitypolicyviolation', (e) => { document.title = 'ERROR ' + e.violatedDirective; });</script>"
    head, end = page.read_text().replace("<head>", f"<head>{watched}", 1).rsplit("</body>", 1)
    changed = page.with_name("changed.html")
    changed.write_text(f"{head}<script>{actions}</script></body>{end}")
    chromium = shutil.which("chromium")
    assert chromium, "install Debian's package chromium, or use tests/figures/page/run.sh"
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = [chromium, *ALONE, profile, "--dump-dom", changed.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = done.stdout.split("<body>", 1)
    assert "<title>ERROR" not in body[0], re.findall("<title>.*?</title>", body[0])
    return re.sub(r"<script\b.*?</script>", "", body[1], flags=re.DOTALL)


def methods(document: str) -> list[str]:
    return re.findall(r'<tr class="[^"]*" data-method="([^"]+)"', document)


def pick(name: str, value: str) -> str:
    return f"{{const s = document.getElementById('choose-{name}'); s.value = {value!r}; s.dispatchEvent(new Event('change'));}}"


def part(document: str, start: str, end: str) -> str:
    return document.split(start, 1)[1].split(end, 1)[0]


def images(document: str) -> list[str]:
    return re.findall(r'data-image="([^"]+)"', document)


PRINT_CSV = "const shownCsv = document.createElement('pre'); shownCsv.id = 'csv'; shownCsv.textContent = window.lastCsv; document.body.append(shownCsv);"


def csv_of(page: Path, button: str, actions: str = "") -> list[list[str]]:
    document = rendered(page, f"{actions}document.getElementById('{button}').click();{PRINT_CSV}")
    return [line.split(",") for line in part(document, '<pre id="csv">', "</pre>").splitlines()]


def test_first_view(page: Path) -> None:
    document = rendered(page)
    assert methods(document) == ["rollout", "raw_attention", "random"]
    assert "0.500" in document
    assert "[0.400, 0.600]" in document
    board = part(document, 'id="board-chart"', "</figure>")
    assert board.count("<svg") == 1
    assert "SaCo (k=4), mean with 90 % interval" in board
    assert "***" in board, "Rollout differs from Random"
    assert 'aria-label="Means by method: SaCo (k=4), mean with 90 % interval"' in board
    ticks = re.findall(r">(−?0\.\d+)</text>", board)
    assert len(ticks) >= 3, "the intervals have no axis"
    assert images(document) == ["image-2", "image-0", "image-1"], "sorted by SaCo, images without a score last"
    assert document.count("data-painted") == 3 * (1 + 3), "pictures and maps"
    assert "A random sample of 3 of 9 images" in document
    assert "label: sandal" in document
    assert not re.search(r'(?:src|href)="(?!data:|#)', document), "the page reaches outside"


def test_sorting(page: Path) -> None:
    by_name = "document.querySelector('[data-sort=method]').click();"
    assert methods(rendered(page, by_name)) == ["random", "raw_attention", "rollout"]
    assert methods(rendered(page, by_name * 2)) == ["rollout", "raw_attention", "random"]


def test_filters(page: Path) -> None:
    attacked = rendered(page, pick("attack", "pgd"))
    assert methods(attacked) == ["raw_attention", "random", "rollout"]
    assert "−0.200" in attacked
    assert attacked.count('class="changed"') == 2, "two of three images have another class under attack"
    lower = rendered(page, pick("metric", "deletion_auc\x01\x01"))
    assert methods(lower) == ["random", "raw_attention", "rollout"]
    assert "Lower is better" in lower


def test_two_conditions_side_by_side(page: Path) -> None:
    document = rendered(page, pick("other", "attack\x01pgd"))
    assert "Paired difference: attack: clean minus attack: PGD" in document
    difference = part(document, 'id="difference-chart"', "</figure>")
    assert difference.count(">**</text>") == 1, "Rollout alone differs, p = 0.004"
    row = part(document, 'data-method="rollout"', "</tr>")
    assert [text for text in ("+0.700", "[0.600, 0.800]", "0.004 **") if text not in row] == []
    assert part(document, 'id="curve-charts"', 'id="legend"').count("<svg") == 2
    assert document.count("data-painted") == 2 * 3 * (1 + 3)
    alone = rendered(page, pick("other", "attack\x01pgd") + pick("other", ""))
    assert 'id="difference-figure" hidden' in alone
    assert alone.count("data-painted") == 3 * (1 + 3)


def test_hiding_a_line(page: Path) -> None:
    before, after = (
        part(rendered(page, action), 'id="curve-charts"', 'id="legend"')
        for action in ("", "document.getElementById('line-rollout').click();")
    )
    lines = [len(re.findall(r'stroke="#[0-9A-Fa-f]{6}" stroke-width="2"', text)) for text in (before, after)]
    assert lines == [3, 2]


def test_images_are_filtered_and_sorted(page: Path) -> None:
    assert images(rendered(page, pick("image-order", "ascending"))) == ["image-0", "image-2", "image-1"]
    assert images(rendered(page, pick("image-target", "0"))) == ["image-0"]
    assert images(rendered(page, pick("low", "0.35"))) == ["image-2"]
    assert images(rendered(page, pick("name", "e-1"))) == ["image-1"]
    attacked = rendered(page, pick("attack", "pgd") + pick("image-which", "changed"))
    assert images(attacked) == ["image-2", "image-0"]
    nothing = rendered(page, pick("low", "5"))
    assert images(nothing) == []
    assert "No image matches." in nothing


def test_the_details_of_a_map(page: Path) -> None:
    open_it = "document.querySelector('[data-image=image-0] [data-map=rollout]').click();"
    document = rendered(page, open_it)
    detail = part(document, "<dialog", "</dialog>")
    assert "Rollout on image-0" in detail
    assert "Broken pairs of SaCo: 2 of 6" in detail
    assert detail.count(">×</text>") == 2
    assert "0.500" in detail
    without = rendered(page, open_it.replace("image-0", "image-1"))
    assert "No pairs of groups" in without


def test_downloads_are_what_is_shown(page: Path) -> None:
    head, *rows = csv_of(page, "board-csv")
    assert [row[head.index("method")] for row in rows] == ["rollout", "raw_attention", "random"]
    assert [float(row[head.index("mean")]) for row in rows] == [0.5, 0.2, 0.0]
    head, *rows = csv_of(page, "board-csv", pick("other", "attack\x01pgd"))
    assert len(rows) == 6
    assert float(rows[0][head.index("difference")]) == 0.7
    head, *rows = csv_of(page, "images-csv", pick("image-target", "0"))
    assert [row[head.index("method")] for row in rows] == ["random", "raw_attention", "rollout"]
    assert rows[2][head.index("SaCo (k=4)")] == "0.5"
    head, *rows = csv_of(page, "curves-csv", "document.getElementById('line-rollout').click();")
    assert {row[head.index("method")] for row in rows} == {"random", "raw_attention"}


def test_the_keyboard_reaches_every_control(page: Path) -> None:
    document = rendered(page)
    controls = re.findall(r"<(button|select|input)\b([^>]*)>", document)
    assert len(controls) > 20
    assert not [text for _, text in controls if 'tabindex="-1"' in text]
    assert not re.findall(r"<(?:div|span|td|canvas)[^>]+onclick", document)
    named = set(re.findall(r'<label for="([^"]+)"', document))
    assert {m for kind, text in controls if kind != "button" for m in re.findall(r'id="([^"]+)"', text)} <= named
    kept = rendered(
        page,
        "document.getElementById('choose-attack').focus();"
        + pick("attack", "pgd")
        + "document.title = document.activeElement.id;",
    )
    assert "choose-attack" in kept


@pytest.mark.parametrize("width", [480, 1280])
def test_nothing_is_wider_than_the_window(page: Path, width: int) -> None:
    """In a frame, since a headless window cannot be that narrow."""
    frame = page.with_name("frame.html")
    rendered(page, pick("other", "attack\x01pgd"))
    measure = (
        "addEventListener('message', (e) => { document.body.dataset.wide = e.data; });"
        f"const f = document.createElement('iframe'); f.style.width = '{width}px'; f.src = 'changed.html'; document.body.append(f);"
    )
    changed = page.with_name("changed.html")
    post = "setTimeout(() => parent.postMessage(document.documentElement.scrollWidth, '*'), 1500);"
    head, end = changed.read_text().rsplit("</body>", 1)
    changed.write_text(f"{head}<script>{post}</script></body>{end}")
    frame.write_text(f"<body><script>{measure}</script></body>")
    chromium = str(shutil.which("chromium"))
    command = [chromium, *ALONE, f"--user-data-dir={page.parent / 'profile'}", "--dump-dom", frame.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    wide = re.search(r'data-wide="(\d+)"', done.stdout)
    assert wide
    assert int(wide.group(1)) <= width
