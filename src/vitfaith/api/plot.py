"""Figures of scores, curves and maps in memory, in the style of a study's figures.

Each function returns a matplotlib ``Figure``: notebooks show it, ``figure.savefig("name.pdf")`` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from vitfaith.api.inputs import images_of
from vitfaith.api.maps import named_maps
from vitfaith.api.summary import check_frame
from vitfaith.api.summary import leaderboard as ranked
from vitfaith.errors import InputError
from vitfaith.explained import PREDICTION
from vitfaith.figures.drawing.data import FigureData
from vitfaith.figures.drawing.draw import canvas
from vitfaith.figures.drawing.save import render_bytes
from vitfaith.figures.drawing.style import MM_PER_INCH, Style
from vitfaith.figures.drawing.trust import draw_trust
from vitfaith.figures.registry import FIGURES
from vitfaith.map_values import map_flags, unit_range
from vitfaith.registry import Better
from vitfaith.study.values import validate
from vitfaith.tables.collect import CONDITION
from vitfaith.tables.curves import curve_table

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from torch import Tensor

_PANEL_MM = 28


def leaderboard(
    scores: pd.DataFrame,
    metric: str = "saco",
    *,
    variant: str | None = None,
    directions: Mapping[str, Better] | None = None,
    style: Mapping[str, Any] | None = None,
) -> Figure:
    """Methods ranked by their mean over images, with confidence intervals, one panel per dataset and model.

    Args:
        scores: from :func:`vitfaith.score` or :func:`vitfaith.read`, or a table of :func:`vitfaith.leaderboard`; with a
            single attack and smoothing.
        metric: id of the metric.
        variant: variant of the metric; default: the only one, or k=10.
        directions: see :func:`vitfaith.leaderboard`.
        style: settings of the configuration's section ``style``.

    Raises:
        ConfigError: the scores have no such metric or variant, or a wrong style.
        InputError: a column is missing.

    Example:
        >>> import pandas as pd, vitfaith as vf
        >>> rows = [(f"image-{i}", m, "saco", "", i / 9, "") for i in range(9) for m in ("mine", "random")]
        >>> scores = pd.DataFrame(rows, columns=["image_id", "method", "metric", "variant", "value", "flag"])
        >>> vf.plot.leaderboard(scores).axes[0].get_xlabel()[:4]
        'SaCo'
    """
    check_frame("scores", scores)
    board = scores if "mean" in scores else ranked(scores, directions=directions)
    board = _placed(board)
    if "reference" not in board:
        board = board.assign(reference="")
    return _drawn(
        "saco_leaderboard",
        {"metric": metric, "variant": variant, "directions": dict(directions or {}), **_condition(board)},
        style,
        summary=board,
    )


def curves(
    curves: pd.DataFrame,
    *,
    curve: Sequence[Literal["morf", "lerf"]] | None = None,
    variant: str | None = None,
    quantity: Literal["probability", "kl"] = "probability",
    style: Mapping[str, Any] | None = None,
) -> Figure:
    """Mean answer of the model while features are replaced, by method, with confidence bands.

    Args:
        curves: of :func:`vitfaith.evaluate`, or from :func:`vitfaith.read`.
        curve: most relevant first ("morf") and least relevant first ("lerf"); default: all existing curves.
        variant: features, fill and steps; default: the variant with most steps that has all curves.
        quantity: probability of the explained class, or KL(clean ‖ perturbed) in nats.
        style: see :func:`leaderboard`.

    Raises:
        ConfigError: no such curve or variant, or a wrong style.
        InputError: there are no curves, or no curves along a ranking (SaCo's curves are over groups).

    Example:
        >>> import timm, torch, vitfaith as vf
        >>> model = vf.wrap(timm.create_model("vit_tiny_patch16_224", img_size=64, depth=1, num_classes=10))
        >>> images = torch.rand(3, 3, 64, 64)
        >>> found = vf.evaluate(model, images, vf.explain(model, images, ["saliency", "random"]), "deletion_auc")
        >>> len(vf.plot.curves(found.curves).axes)
        1
    """
    check_frame("curves", curves)
    if "curve" not in curves:
        raise InputError("curves lack the column 'curve'; give vitfaith.evaluate(…).curves, not scores")
    present = [name for name in ("morf", "lerf") if name in set(curves["curve"])]
    if not present:
        raise InputError(
            "curves hold none along a ranking; evaluate a metric that has one, such as deletion_auc or abpc"
        )
    settings = {
        "curves": [curve] if isinstance(curve, str) else list(curve or present),
        "variant": variant,
        "quantity": quantity,
    }
    placed = _placed(curves)
    every: dict[str, list[str]] = {"attacks": [], "smoothings": []}
    return _drawn("perturbation_curves", {**settings, **every}, style, curves=curve_table(placed))


def trust(table: pd.DataFrame, *, style: Mapping[str, Any] | None = None) -> Figure:
    """Which metric to trust: one row per metric, one panel per quantity, with intervals over images.

    Args:
        table: from :func:`vitfaith.trust`, of one condition.
        style: see :func:`leaderboard`.

    Raises:
        InputError: a column is missing, or the table is of several conditions.

    Example:
        >>> import pandas as pd, vitfaith as vf
        >>> rows = [(f"image-{i}", m, "saco", "", v + i % 3, "") for i in range(9) for m, v in (("a", 2), ("b", 1), ("random", 0))]
        >>> scores = pd.DataFrame(rows, columns=["image_id", "method", "metric", "variant", "value", "flag"])
        >>> len(vf.plot.trust(vf.trust(scores, resamples=100)).axes)
        3
    """
    check_frame("table", table)
    if not {"metric", "quantity", "other", "value", "low", "high"} <= set(table):
        raise InputError("table lacks columns of vitfaith.trust(scores); give what that returns")
    place = [name for name in CONDITION if name in table]
    if place and len(table.drop_duplicates(place)) > 1:
        raise InputError("table is of several conditions; keep one, by dataset, model, attack, smoothing and explained")
    look = validate(Style, style or {}, "style")
    with look.context_of_drawing():
        return draw_trust(table, look)


def maps(
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    titles: Sequence[str] | None = None,
    overlay: float = 0.0,
    style: Mapping[str, Any] | None = None,
) -> Figure:
    """Each image beside its maps, one row per image; every map is scaled to its own range, dark low and bright high.

    Args:
        images: (B, C, H, W) with one or three channels, float in [0, 1] or uint8.
        maps: method → (B, rows, columns); a constant map, or one that is not finite, is shown as "no map".
        titles: titles of the rows; default: none.
        overlay: weight in [0, 1) of the grey image under the map.
        style: see :func:`leaderboard`.

    Raises:
        InputError: the numbers of maps, titles and images differ, or the images have neither one nor three channels.

    Example:
        >>> import torch, vitfaith as vf
        >>> len(vf.plot.maps(torch.rand(2, 3, 32, 32), {"mine": torch.rand(2, 4, 4)}).axes)
        4
    """
    pixels = images_of(images).cpu()
    count = len(pixels)
    if not count:
        raise InputError("images hold no image; give at least one")
    if pixels.shape[1] not in (1, 3) or not 0 <= overlay < 1:
        raise InputError(
            f"images have shape {tuple(pixels.shape)} and overlay is {overlay}; give 1 or 3 channels, overlay in [0, 1)"
        )
    maps = named_maps(maps)
    if any(len(one) != count for one in maps.values()) or len(titles or pixels) != count:
        raise InputError(f"give {count} maps of each method, and {count} titles or none")
    look = validate(Style, style or {}, "style")
    with look.context_of_drawing():
        figure, axes = canvas(look, count, 1 + len(maps), panel_mm=_PANEL_MM)
        figure.set_figwidth(min(look.width, (1 + len(maps)) * _PANEL_MM / MM_PER_INCH))
        for row, image in enumerate(pixels):
            shown = image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()
            axes[row, 0].imshow(shown, cmap="gray", vmin=0, vmax=1)
            axes[row, 0].set_ylabel("" if titles is None else titles[row])
            extent = (-0.5, image.shape[2] - 0.5, image.shape[1] - 0.5, -0.5)
            for column, one in enumerate(maps.values(), 1):
                panel = axes[row, column]
                values = one[row].cpu().float().numpy()
                if map_flags(values[None]) != [""]:
                    panel.imshow([[0.8]], cmap="gray", vmin=0, vmax=1, extent=extent)
                    panel.text(0.5, 0.5, "no map", transform=panel.transAxes, ha="center", va="center")
                    continue
                panel.imshow(
                    unit_range(values), cmap=look.sequential, vmin=0, vmax=1, extent=extent, interpolation="nearest"
                )
                if overlay:
                    panel.imshow(image.mean(0).numpy(), cmap="gray", vmin=0, vmax=1, alpha=overlay)
        for panel, name in zip(axes[0], ["image", *map(look.label, maps)], strict=True):
            panel.set_title(name)
        for panel in axes.flat:
            panel.set(xticks=[], yticks=[])
            panel.grid(visible=False)
    return _for_notebooks(figure)


def _drawn(name: str, settings: Mapping[str, Any], style: Mapping[str, Any] | None, **tables: pd.DataFrame) -> Figure:
    """A registered figure of tables in memory."""
    entry = FIGURES[name]
    look = validate(Style, style or {}, "style")
    parameters = validate(entry.parameters, settings, f"figures.{name}")
    with look.context_of_drawing():
        figure: Figure = entry.implementation(FigureData(**tables), parameters, look)
    return _for_notebooks(figure)


def _for_notebooks(figure: Figure) -> Figure:
    """``figure``, which IPython shows as a picture though it is none of pyplot's, the only ones that it knows."""
    figure._repr_png_ = partial(render_bytes, figure, "png")  # type: ignore[attr-defined]
    return figure


def _placed(frame: pd.DataFrame) -> pd.DataFrame:
    """``frame`` with all columns of a condition; missing columns get the values for images in memory."""
    default = {"dataset": "images", "model": "model", "attack": "clean", "smoothing": "none", "explained": PREDICTION}
    return frame.assign(**{name: default[name] for name in CONDITION if name not in frame})


def _condition(frame: pd.DataFrame) -> dict[str, str]:
    """The only attack and smoothing of a table."""
    found = {name: frame[name].astype(str).unique() for name in ("attack", "smoothing")}
    for name, values in found.items():
        if len(values) > 1:
            raise InputError(
                f"scores are of {name} {', '.join(values)}; choose one, such as scores[scores.{name} == '{values[0]}']"
            )
    return {name: values[0] for name, values in found.items()}
