"""What all figures share: sizes, theme, parameter maps, colour bars and boundaries."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Bool, Float, Num
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LogNorm, Normalize, SymLogNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import Normal, Stroke
from matplotlib.ticker import LogFormatterSciNotation, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation, blended_transform_factory

from hessgeo.figures.look import FRAMES, register_maps
from hessgeo.figures.thumbnails import shrink

SINGLE_COLUMN, DOUBLE_COLUMN, PAGE_HEIGHT = 3.4, 7.0, 9.0  # inches
PNG_DPI = 200
BAR = 0.11  # thickness of a colour bar, inches
SEQUENTIAL, RIDGE, DIVERGING = "viridis", "rocket", "vlag"
register_maps()
FAILED = "#b8c4ce"  # cells where a quantity does not exist; in none of the colour maps
INK = "0.15"

THEME: dict[str, Any] = FRAMES | {
    # DejaVu Sans ships with matplotlib: the same glyphs, so the same layout, on every machine.
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.labelpad": 2.5,
    "axes.titlepad": 4,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "xtick.major.pad": 2,
    "ytick.major.pad": 2,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.6,
    "figure.facecolor": "white",
    "svg.fonttype": "path",  # a reader without the font sees the same letters
    "svg.hashsalt": "hessgeo",  # else element ids are random
}


@contextmanager
def theme() -> Iterator[None]:
    """The look of all figures, for a ``with`` block or as a decorator; settings outside are left alone."""
    with mpl.rc_context(THEME):
        yield


def place(figure: Figure, left: float, bottom: float, width: float, height: float, **options: Any) -> Axes:
    """Axes whose frame has that position and size in inches.

    Maps have a fixed shape, for which the layouts that fit axes into a figure leave labels outside of it.
    """
    across, up = figure.get_size_inches()
    return figure.add_axes((left / across, bottom / up, width / across, height / up), **options)


def map_row(
    count: int, ratio: float, *, width: float, top: float, bottom: float = 0.37
) -> tuple[Figure, list[Axes]]:
    """A figure of ``count`` maps side by side, sized so that the maps fill its width.

    Args:
        count: number of maps.
        ratio: height over width of each.
        width: of the figure, inches.
        top: room above the maps for colour bars, inches.
        bottom: room below them for labels, inches.

    Returns:
        The figure, at most a page high (maps then become narrower), and its axes from the left.
    """
    left, gap, right = 0.5, 0.24, 0.12
    room = (width - left - right - gap * (count - 1)) / count
    side = min(room, (PAGE_HEIGHT - top - bottom) / ratio)
    figure = Figure(figsize=(width, top + side * ratio + bottom))
    left += count * (room - side) / 2
    return figure, [place(figure, left + k * (side + gap), bottom, side, side * ratio) for k in range(count)]


def field(dataset: xr.Dataset, name: str) -> Num[np.ndarray, "a b *component"]:
    """The array of a variable with dims ``(a, b, ...)`` in that order.

    Raises:
        ValueError: if the dataset has no such variable.
    """
    if name not in dataset:
        raise ValueError(f"variable {name!r} is not in the dataset, which has {sorted(map(str, dataset))}")
    return dataset[name].transpose("a", "b", ...).to_numpy()


def axes_of(dataset: xr.Dataset) -> tuple[Float[np.ndarray, "a"], Float[np.ndarray, "b"]]:
    """Node coordinates ``(a, b)`` of a gridded dataset."""
    return dataset["a"].to_numpy().astype(float), dataset["b"].to_numpy().astype(float)


def node_table(
    a: Float[np.ndarray, "a"], b: Float[np.ndarray, "b"], columns: Mapping[str, np.ndarray]
) -> pd.DataFrame:
    """One row per node, ``a`` the slow one, with the given ``(a, b)`` fields as columns."""
    node_a, node_b = np.meshgrid(a, b, indexing="ij")
    fields = {name: np.asarray(values).ravel() for name, values in columns.items()}
    return pd.DataFrame({"a": node_a.ravel(), "b": node_b.ravel(), **fields})


def pixel_extent(a: Float[np.ndarray, "a"], b: Float[np.ndarray, "b"]) -> tuple[float, float, float, float]:
    """``(left, right, bottom, top)`` that puts every node at the centre of its pixel."""
    half_a, half_b = (a[1] - a[0]) / 2, (b[1] - b[0]) / 2
    return (a[0] - half_a, a[-1] + half_a, b[0] - half_b, b[-1] + half_b)


def colour_map(cmap: str | Colormap) -> Colormap:
    """A colour map, by name or as it is, that shows missing values in ``FAILED``."""
    return mpl.colormaps.get_cmap(cmap).with_extremes(bad=FAILED)


def height_ratio(a: Float[np.ndarray, "a"], b: Float[np.ndarray, "b"]) -> float:
    """Height over width of a map of the box."""
    left, right, bottom, top = pixel_extent(a, b)
    return float((top - bottom) / (right - left))


def label_parameters(axes: Axes, *, horizontal: bool = True, vertical: bool = True) -> None:
    """Name the parameter axes; an inner panel drops a label and its numbers."""
    round_ticks(axes, 4, 4)
    axes.tick_params(labelbottom=horizontal, labelleft=vertical)
    if horizontal:
        axes.set_xlabel("latent coordinate $a$")
    if vertical:
        axes.set_ylabel("latent coordinate $b$")


def round_ticks(axes: Axes, across: int, up: int) -> None:
    """At most so many round numbers along the axes, and one more."""
    axes.xaxis.set_major_locator(MaxNLocator(across, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(up, steps=[1, 2, 5, 10]))


def show_field(
    axes: Axes,
    values: Num[np.ndarray, "a b"],
    a: Float[np.ndarray, "a"],
    b: Float[np.ndarray, "b"],
    *,
    cmap: str | Colormap = SEQUENTIAL,
    norm: Normalize | None = None,
) -> AxesImage:
    """Draw an ``(a, b)`` field as a map: ``a`` to the right, ``b`` upwards, one flat pixel per node."""
    return axes.imshow(
        np.asarray(values).T,
        origin="lower",
        extent=pixel_extent(a, b),
        aspect="equal",
        interpolation="none",
        cmap=colour_map(cmap),
        norm=norm,
    )


def log_norm(values: Num[np.ndarray, "a b"], *, low: float = 1.0, high: float = 99.5) -> LogNorm:
    """Logarithmic colour scale between two percentiles of the positive values, so that no spike sets it."""
    positive = values[np.isfinite(values) & (values > 0)]
    if positive.size == 0:
        return LogNorm(0.1, 1.0)
    bottom, top = np.percentile(positive, [low, high])
    if top / bottom < 1.5:  # a nearly constant field: a scale without width has no ticks
        bottom, top = bottom / 1.5, top * 1.5
    return LogNorm(bottom, top)


def linear_norm(values: Num[np.ndarray, "a b"], *, tail: float = 0.5) -> Normalize:
    """Linear colour scale between two percentiles, ``tail`` and ``100 - tail``; NaN is left out."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return Normalize(0.0, 1.0)
    low, high = np.percentile(finite, [tail, 100 - tail])
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # a constant field: a scale without width has no ticks
        low, high = low - 0.5, high + 0.5
    return Normalize(low, high)


def signed_scale(values: Num[np.ndarray, "a b"]) -> tuple[str, Normalize]:
    """Colour map and linear scale of a field that may change sign.

    Returns:
        ``DIVERGING`` with limits symmetric about zero where the smaller side reaches at least a tenth of the
        larger, else ``SEQUENTIAL`` between the limits of ``linear_norm``.
    """
    norm = linear_norm(values)
    reach = max(-norm.vmin, norm.vmax)
    if min(-norm.vmin, norm.vmax) > 0.1 * reach:
        return DIVERGING, Normalize(-reach, reach)
    return SEQUENTIAL, norm


def colour_bar(image: AxesImage, label: str, *, side: str = "top", gap: float = 0.07, ticks: int = 4) -> Axes:
    """Colour bar exactly as wide as its map, ``gap`` inches above (``top``) or below it (``bottom``).

    Arrows at its ends say that values lie beyond it.
    """
    axes, norm, edge = image.axes, image.norm, 1 if side == "top" else 0
    shade = norm(np.ma.compressed(np.ma.masked_invalid(image.get_array())))
    # Within a hundredth of the scale a value beyond it has the colour of its end: no arrow for that.
    below, above = np.ma.any(shade < -0.01), np.ma.any(shade > 1.01)
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    inches = axes.figure.dpi_scale_trans + ScaledTranslation(0, edge, axes.transAxes)
    place = (0, gap if edge else -gap - BAR, 1, BAR)
    bar_axes = axes.inset_axes(place, transform=blended_transform_factory(axes.transAxes, inches))
    bar = axes.figure.colorbar(
        image,
        cax=bar_axes,
        orientation="horizontal",
        extend=extend[bool(below), bool(above)],
        extendfrac=0.04,
    )
    bar.outline.set_linewidth(0.6)
    bar.solids.set_rasterized(True)  # else thin seams show between its colours in vector viewers
    bar_axes.xaxis.set_ticks_position(side)
    bar_axes.xaxis.set_label_position(side)
    _set_bar_ticks(bar, norm, ticks)
    bar.set_label(label, labelpad=3)
    return bar_axes


def _set_bar_ticks(bar: Colorbar, norm: Normalize, ticks: int) -> None:
    """A few round numbers, also where a logarithmic scale spans less than a decade."""
    if isinstance(norm, LogNorm):
        shown = log_ticks(norm.vmin, norm.vmax, ticks)
        bar.set_ticks(shown, labels=[number(value) for value in shown])
        bar.ax.xaxis.set_minor_formatter(NullFormatter())
    elif isinstance(norm, SymLogNorm):
        top = log_ticks(norm.vmax / 10, norm.vmax, ticks)[-1]
        powers = [top / 10, top] if top / 10 > norm.linthresh else [top]
        shown = [*(-value for value in reversed(powers)), 0.0, *powers]
        bar.set_ticks(shown, labels=[number(value) for value in shown])
        bar.minorticks_off()
    else:
        bar.locator = MaxNLocator(ticks, steps=[1, 2, 2.5, 5, 10])
        bar.update_ticks()


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """A few round numbers within ``[low, high]``, at most ``most`` or a little more.

    Whole decades if there are two of them, else numbers 1-3, 1-2-5 or 1-2-...-9, else evenly spaced ones.
    """
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for digits in ((1,), (1, 3), (1, 2, 5), range(1, 10)):
        inside = [digit * decade for decade in decades for digit in digits if low <= digit * decade <= high]
        if len(inside) >= 2:
            return inside[:: -(-len(inside) // most)]
    return [value for value in MaxNLocator(most).tick_values(low, high) if low <= value <= high]


def number(value: float) -> str:
    """A short label: plain between 0.001 and 10,000, else as a power of ten."""
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        # Three digits of a number with four before the point would be a power of ten.
        return f"{value:{'.0f' if abs(value) >= 1e3 else '.3g'}}".replace("-", "\u2212")
    return LogFormatterSciNotation(minor_thresholds=(np.inf, np.inf))(value)


def draw_boundaries(
    axes: Axes,
    boundaries: Sequence[Mapping[str, Any]],
    *,
    colour: str = "white",
    casing: str = "black",
    width: float = 0.5,
) -> None:
    """Draw phase boundaries, ``{"points": [[a, b], ...]}`` each, as thin lines with a casing."""
    effects = [Stroke(linewidth=width + 0.7, foreground=casing), Normal()]
    limits = axes.get_xlim(), axes.get_ylim()
    for boundary in boundaries:
        points = np.asarray(boundary["points"], dtype=float)
        axes.plot(
            *points.T, color=colour, linewidth=width, path_effects=effects, solid_capstyle="round", zorder=3
        )
    axes.set(xlim=limits[0], ylim=limits[1])


def mark_cells(
    axes: Axes,
    cells: Bool[np.ndarray, "a b"],
    a: Float[np.ndarray, "a"],
    b: Float[np.ndarray, "b"],
) -> None:
    """Hatch cells where a quantity fails; neighbours along ``b`` become one rectangle."""
    left, _, bottom, _ = pixel_extent(a, b)
    width, height = a[1] - a[0], b[1] - b[0]
    rectangles = []
    for i, column in enumerate(np.pad(cells, ((0, 0), (1, 1))).astype(int)):
        edges = np.diff(column)
        for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            corner = (left + i * width, bottom + start * height)
            rectangles.append(Rectangle(corner, width, (stop - start) * height))
    if rectangles:
        patches = PatchCollection(
            rectangles, facecolor=FAILED, edgecolor="black", hatch="////////", linewidth=0, zorder=2
        )
        axes.add_collection(patches, autolim=False)


def count_cells(axes: Axes, cells: Bool[np.ndarray, "a b"], what: str) -> None:
    """Say below a map in how many of its cells, which are hatched, something holds."""
    count = int(cells.sum())
    axes.annotate(
        f"hatched: {what} in {count} of {cells.size} cells" if count else f"{what} in no cell",
        xy=(0.5, 0),
        xycoords="axes fraction",
        xytext=(0, -27),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=7,
    )


def mark_points(axes: Axes, points: Float[np.ndarray, "m 2"], label: str) -> None:
    """Rings at parameter points, explained in a legend below the map."""
    axes.plot(*points.T, "o", markersize=4.5, color="white", markeredgecolor="black", zorder=4, label=label)
    below = {"loc": "upper right", "bbox_to_anchor": (1, 0), "borderaxespad": 3.6}
    axes.legend(frameon=False, handletextpad=0.1, borderpad=0, **below)


def panel_letter(axes: Axes, letter: str, *, left: float = 3.0) -> None:
    """Bold letter above the upper left corner of a panel, its right edge ``left`` points left of it."""
    axes.annotate(
        letter,
        xy=(0, 1),
        xycoords="axes fraction",
        xytext=(-left, 4),
        textcoords="offset points",
        fontsize=9,
        fontweight="bold",
        ha="right",
        va="bottom",
    )


def show_picture(axes: Axes, image: Num[np.ndarray, "h w c"]) -> AxesImage:
    """Draw one ``uint8`` image, one channel in grey, three in colour, with no more pixels than the PNG has.

    Raises:
        ValueError: if the image has neither one nor three channels.
    """
    frame, (width, height) = axes.get_position(), axes.figure.get_size_inches()
    side = round(PNG_DPI * max(frame.width * width, frame.height * height))
    picture = displayable(shrink(image, side))
    return axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation=smoothing(side, image.shape))


def smoothing(side: int, shape: tuple[int, ...]) -> str:
    """How to draw an image ``side`` pixels large: the pixels of a small one are shown, those of others hidden."""
    return "none" if side >= 3 * max(shape[:2]) else "auto"


def displayable(image: Num[np.ndarray, "*batch h w c"]) -> Num[np.ndarray, "*batch h w *rgb"]:
    """Drop a lone channel, keep three.

    Raises:
        ValueError: for any other number of channels.
    """
    if image.shape[-1] not in (1, 3):
        raise ValueError(f"images have {image.shape[-1]} channels; 1 (grey) or 3 (RGB) can be drawn")
    return image[..., 0] if image.shape[-1] == 1 else image
