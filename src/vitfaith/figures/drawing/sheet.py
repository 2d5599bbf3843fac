"""A contact sheet of square panels, placed in millimetres: automatic layouts take seconds for a hundred panels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vitfaith.figures.drawing.rc import remember
from vitfaith.figures.drawing.style import MM_PER_INCH, Style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MM_PER_PT = MM_PER_INCH / 72
HEADING = 24
"""Characters of a heading that have room over a block, however narrow it is."""


class Sheet:
    """Blocks (one per image) of rows (the image, then one per method) × columns (one per condition)."""

    def __init__(self, style: Style, names: list[str], images: int, conditions: int, lines: int = 2) -> None:
        """Make the figure and write the ``names`` of the rows on its left; blocks wrap to a new band below.

        ``lines`` is the number of lines of a condition's name over its column.
        """
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.style, self.names, self.conditions = style, names, conditions
        self.tiny = 0.75 * style.font_size
        line = 1.25 * self.tiny * MM_PER_PT
        width = style.width * MM_PER_INCH
        self.figure = Figure(figsize=(style.width, 1.0), dpi=style.dpi)
        FigureCanvasAgg(self.figure)
        remember(self.figure)
        self.left = self._widest() + 2.5
        self.gap, self.gutter = 1.0, 4.0
        room = width - self.left - 1.0
        characters = 9.5 if lines == 2 else 12.5
        smallest = max(9.0, characters * self.tiny * 0.55 * MM_PER_PT)  # room for the condition's name over a column
        # many columns make a wider sheet, not texts that overlap
        needed = conditions * (smallest + self.gap)
        if needed > room:
            width, room = width + needed - room, needed

        def side(blocks: int) -> float:
            return (room - (blocks - 1) * self.gutter) / (blocks * conditions) - self.gap

        self.blocks = max([b for b in range(1, images + 1) if side(b) >= smallest], default=1)
        self.side = min(side(self.blocks), 20.0)
        # narrow blocks move apart where there is room, so that their headings do not touch
        heading = HEADING * 0.6 * style.font_size * MM_PER_PT
        block = conditions * (self.side + self.gap) + self.gutter
        self.pitch = max(block, min((room + self.gutter) / self.blocks, heading))
        self.top = lines * line + 1.6 * style.font_size * MM_PER_PT + 1.0
        self.first, self.step = self.side + 2 * line + 1.6, self.side + line + 1.6
        self.band = self.top + self.first + (len(names) - 1) * self.step + 2.0
        self.bands = -(-images // self.blocks)
        self.height = self.bands * self.band
        # few narrow blocks do not fill the page; what they leave empty is cut
        self.width = min(width, self.left + (self.blocks - 1) * self.pitch + max(block - self.gutter, heading) + 1.0)
        self.figure.set_size_inches(self.width / MM_PER_INCH, self.height / MM_PER_INCH)
        for band in range(self.bands):
            for row, name in enumerate(names):
                y = self._y(band, row) + self.side / 2
                self.figure.text(
                    (self.left - 1.5) / self.width, y / self.height, name, ha="right", va="center", fontsize=style.small
                )

    def _widest(self) -> float:
        found = [self.figure.text(0, 0, name, fontsize=self.style.small) for name in self.names]
        widest = max(text.get_window_extent().width for text in found) / self.style.dpi * MM_PER_INCH
        for text in found:
            text.remove()
        return float(widest)

    def _y(self, band: int, row: int) -> float:
        """Lower edge of a row's panels above the bottom of the figure, mm."""
        below = self.top + (0.0 if row == 0 else self.first + (row - 1) * self.step) + self.side
        return self.height - band * self.band - below

    def _x(self, index: int, column: int) -> float:
        return self.left + (index % self.blocks) * self.pitch + column * (self.side + self.gap)

    def panel(self, index: int, row: int, column: int) -> Axes:
        """The empty square panel of image ``index``."""
        y = self._y(index // self.blocks, row)
        box = (self._x(index, column) / self.width, y / self.height, self.side / self.width, self.side / self.height)
        axes = self.figure.add_axes(box, label=f"{index}/{row}/{column}")
        axes.set(xticks=[], yticks=[])
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        return axes

    def heading(self, index: int, text: str) -> None:
        """Bold text over the block of image ``index``."""
        y = self.height - (index // self.blocks) * self.band - 0.8
        self.figure.text(
            self._x(index, 0) / self.width,
            y / self.height,
            text,
            ha="left",
            va="top",
            fontsize=self.style.font_size,
            fontweight="bold",
        )
