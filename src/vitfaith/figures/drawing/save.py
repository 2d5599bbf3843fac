"""Figures to files: equal figures give equal bytes, and a file is either the old one or the whole new one."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vitfaith.artifacts.store import atomic_path
from vitfaith.figures.drawing.rc import drawn_with, settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Every entry that would hold a time or a version is None, which removes it.
_METADATA: dict[str, dict[str, Any]] = {
    "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    "svg": {"Creator": None, "Date": None},
    "png": {"Software": None},
}

FORMATS = tuple(_METADATA)


def render_bytes(figure: Figure, kind: str) -> bytes:
    """The file of ``kind`` ("pdf", "svg" or "png"); depends on the figure and the matplotlib version alone."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    if not isinstance(figure.canvas, FigureCanvasAgg):
        FigureCanvasAgg(figure)
    buffer = io.BytesIO()
    fixed = {
        "svg.hashsalt": "vitfaith",
        "svg.fonttype": "path",  # looks alike where the font is missing
        "pdf.fonttype": 42,  # text stays editable
        "pdf.compression": 6,
        "savefig.dpi": "figure",
        "savefig.bbox": None,
        "savefig.transparent": False,
        "savefig.facecolor": "white",
        "path.simplify": True,
        "text.usetex": False,
    }
    with settings({**drawn_with(figure), **fixed}):
        figure.savefig(buffer, format=kind, metadata=_METADATA[kind])
    return buffer.getvalue()


def save_figure(figure: Figure, stem: Path) -> list[Path]:
    """Write ``{stem}.pdf``, ``{stem}.svg`` and ``{stem}.png`` and return their paths.

    The suffix is appended, so a dot in the stem's name is kept. All three are rendered before the first is written.
    """
    stem = Path(stem)
    # The layout depends on the resolution, which differs between formats: compute it once, then keep it.
    with settings(drawn_with(figure)):
        figure.draw_without_rendering()
    figure.set_layout_engine("none")
    rendered = {kind: render_bytes(figure, kind) for kind in FORMATS}
    paths = []
    for kind, content in rendered.items():
        path = stem.with_name(f"{stem.name}.{kind}")
        with atomic_path(path) as temporary:
            temporary.write_bytes(content)
        paths.append(path)
    return paths
