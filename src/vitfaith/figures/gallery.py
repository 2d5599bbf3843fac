"""Maps to look at: for a few images, every method in every condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from vitfaith.errors import ConfigError
from vitfaith.explained import CLEAN_PREDICTION, PREDICTION, RUNNER_UP, in_short
from vitfaith.figures.drawing.data import CONDITION, EXPLAINED, FigureData, select, tidy
from vitfaith.figures.drawing.names import decimal, order_conditions
from vitfaith.figures.drawing.pictures import decode_map, decode_object, decode_pixels
from vitfaith.figures.drawing.sheet import HEADING, Sheet
from vitfaith.figures.drawing.style import Style
from vitfaith.figures.registry import figure
from vitfaith.lazy import np
from vitfaith.registry import Ids, Parameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame, Series

ROLES = ("best", "median", "worst", "first")
KEYS = (*CONDITION, "role", "image_id", "method")
PICTURE = ("rows", "columns", "map", "channels", "height", "width", "pixels")
COLUMNS = (*KEYS, *PICTURE, "target", "prediction", "prediction_probability", "saco")

_CLASSES = {CLEAN_PREDICTION: "clean class", PREDICTION: "own class", RUNNER_UP: "runner-up"}
"""Explained class → text that has room over a column."""


class Gallery(Parameters):
    """Which model, attack and smoothing."""

    dataset: Annotated[str | None, Ids("datasets")] = Field(None, description="dataset; without it the first one")
    model: Annotated[str | None, Ids("models")] = Field(None, description="model; without it the first one")
    attack: Annotated[str | None, Ids("attacks")] = Field(
        None, description="attack of the second and third column; without it pgd or the first one"
    )
    smoothing: Annotated[str | None, Ids("smoothings")] = Field(
        None, description="smoothing of the third column; without it the first one"
    )
    explained: Annotated[tuple[str, ...], Ids("targets")] = EXPLAINED
    methods: Annotated[tuple[str, ...], Ids("explainers")] = Field((), description="methods to show; empty: all")
    roles: tuple[str, ...] = Field((), description="best, median, worst; empty: all that the table has")
    classes: tuple[str, ...] = Field(
        (), description="class names; default: names of the dataset or model, else numbers"
    )
    overlay: float = Field(0.0, ge=0, lt=1, description="weight of the grey image under the map; 0 shows the map alone")


def rows(data: FigureData, parameters: Gallery) -> DataFrame:
    """One row per (image, condition, method) of one dataset and model: clean, attacked, attacked and smoothed."""
    frame = data.table("gallery", COLUMNS)
    frame = select(frame, "gallery", method=parameters.methods, role=parameters.roles, explained=parameters.explained)
    frame = select(frame, "gallery", dataset=parameters.dataset or order_conditions(frame["dataset"])[0])
    frame = select(frame, "gallery", model=parameters.model or order_conditions(frame["model"])[0])
    select(frame, "gallery", attack=parameters.attack, smoothing=parameters.smoothing)
    attacks = [a for a in order_conditions(frame["attack"]) if a != "clean"]
    smoothings = [s for s in order_conditions(frame["smoothing"]) if s != "none"]
    attack = parameters.attack or ("pgd" if "pgd" in attacks else (attacks or ["clean"])[0])
    smoothing = parameters.smoothing or (smoothings or ["none"])[0]
    wanted = {("clean", "none"): 0, (attack, "none"): 1, (attack, smoothing): 2}
    place = {value: i for i, value in enumerate(order_conditions(frame["explained"]))}
    cells = zip(frame["attack"], frame["smoothing"], frame["explained"], strict=True)
    column = [wanted[a, s] * len(place) + place[e] if (a, s) in wanted else -1 for a, s, e in cells]
    frame = frame.assign(column=column)
    frame = frame[frame["column"] >= 0]
    if frame.empty:
        raise ConfigError(
            f"table 'gallery' has no maps for attack '{attack}' without smoothing or behind '{smoothing}'"
        )
    return tidy(frame, "gallery", ["column", *KEYS])


@figure(
    "gallery",
    needs=("gallery",),
    rows=rows,
    title="Examples",
    caption=(
        "Maps of the images with the best, median and worst faithfulness (SaCo averaged over methods and conditions, where "
        "several classes are explained for the first of ``targets`` alone; the choice is made by this rule alone): clean, attacked, and attacked behind the smoothing. The top row is "
        "the image that is explained, with the predicted class and its probability (red where it is not the explained "
        "class). Where several classes are explained, ``clean class`` is predicted for the clean image, and ``own class`` for the "
        "image shown. Maps are on the patch grid, each scaled to its own range, dark low and bright high, with their SaCo "
        "(of several SaCo metrics the first by name, of several K the smallest). "
        "Lines show the borders of objects where the data set knows them. Studies without SaCo show their first images."
    ),
    category="examples",
    parameters=Gallery,
)
def gallery(data: FigureData, parameters: Gallery, style: Style) -> Figure:
    """Best, median and worst image with the maps of all methods in all conditions."""
    table = rows(data, parameters)
    methods = style.order(table["method"])
    conditions = list(dict.fromkeys(zip(table["attack"], table["smoothing"], table["explained"], strict=True)))
    lines = 3 if table["explained"].nunique() > 1 else 2
    known = {role: i for i, role in enumerate(ROLES)}
    images = sorted(
        {(str(r), str(i)) for r, i in zip(table["role"], table["image_id"], strict=True)},
        key=lambda pair: (known.get(pair[0], len(ROLES)), pair),
    )
    scored = bool(np.isfinite(table["saco"].astype(float)).any())
    keyed = {(r["image_id"], r["attack"], r["smoothing"], r["explained"], r["method"]): r for _, r in table.iterrows()}
    names = [f"explained image\n({style.label(str(table['model'].iloc[0]))})", *map(style.label, methods)]
    sheet = Sheet(style, names, images=len(images), conditions=len(conditions), lines=lines)
    for index, (role, image_id) in enumerate(images):
        sheet.heading(index, heading(role, image_id))
        for j, condition in enumerate(conditions):
            shown = [keyed[image_id, *condition, m] for m in methods if (image_id, *condition, m) in keyed]
            if not shown:
                continue
            top = sheet.panel(index, 0, j)
            names = [*map(style.label, condition[:2]), _CLASSES.get(condition[2], in_short(condition[2]))]
            top.set_title("\n".join(names[:lines]), fontsize=sheet.tiny, loc="center", pad=2)
            _show_image(top, shown[0], parameters.classes, sheet.tiny)
            for row in shown:
                panel = sheet.panel(index, 1 + methods.index(row["method"]), j)
                _show_map(panel, row, style, parameters.overlay, sheet.tiny, scored=scored)
    return sheet.figure


def heading(role: str, image_id: str) -> str:
    """Role and file name, cut at the front to what has room: endings distinguish images."""
    name, room = image_id.rpartition("/")[2], HEADING - len(role) - 2
    return f"{role}: {name if len(name) <= room else '…' + name[1 - room :]}"


def _show_image(panel: Axes, row: Series, classes: tuple[str, ...], size: float) -> None:
    image = decode_pixels(row)
    panel.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=1, interpolation="nearest")
    number = int(row["prediction"])
    told = row.get("prediction_name")
    name = classes[number] if number < len(classes) else told if isinstance(told, str) else f"class {number}"
    probability = row["prediction_probability"]
    _outline(panel, row)
    panel.set_xlabel(
        f"{name}\n{probability:.2f}",
        fontsize=size,
        labelpad=1.5,
        color="black" if number == row["target"] else "#B2182B",
    )


def _show_map(panel: Axes, row: Series, style: Style, overlay: float, size: float, *, scored: bool) -> None:
    heat = decode_map(row)
    extent = (-0.5, row["width"] - 0.5, row["height"] - 0.5, -0.5)
    if heat is None:
        panel.imshow(np.full((1, 1), 0.8), cmap="gray", vmin=0, vmax=1, extent=extent)
        panel.text(0.5, 0.5, "no map", transform=panel.transAxes, ha="center", va="center", fontsize=size)
    else:
        if overlay:
            image = decode_pixels(row)
            panel.imshow(image if image.ndim == 2 else image.mean(-1), cmap="gray", vmin=0, vmax=1, extent=extent)
        panel.imshow(
            heat, cmap=style.sequential, vmin=0, vmax=1, alpha=1 - overlay, extent=extent, interpolation="nearest"
        )
        _outline(panel, row)
    if scored:
        value = f"SaCo {decimal(row['saco'], 2)}" if np.isfinite(row["saco"]) else "no SaCo"
        panel.set_xlabel(value, fontsize=size, labelpad=1.5)


def _outline(panel: Axes, row: Series) -> None:
    """The border of the object, where the table knows it: white within black, which shows on any image and map."""
    inside = decode_object(row)
    if inside is None or not inside.any():
        return
    closed = np.pad(inside, 1)  # so that objects cut by the edge get a closed line
    y, x = (np.arange(size) - 1 for size in closed.shape)
    for width, colour in ((1.4, "black"), (0.6, "white")):
        panel.contour(x, y, closed, levels=[0.5], colors=colour, linewidths=width)
    panel.set_xlim(-0.5, row["width"] - 0.5)
    panel.set_ylim(row["height"] - 0.5, -0.5)
