"""Statistics that a network learned, against those of the exponential family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.learned.exponential_halves import ExponentialHalves

NAMES = (r"energy $\Sigma\, s_i s_j$ a site", r"magnetisation $\Sigma\, s_i$ a site")
BONDS_AND_SPINS = (r"$\sum_{\langle ij\rangle} s_i s_j$ a site", r"$\sum_i s_i$ a site")
BINS = 32  # hexagons across


class AffineMatch(NamedTuple):
    """The best affine image of learned statistics.

    Attributes:
        image: ``A f + c``.
        r_squared: share of the variance of each exact statistic that it explains.
    """

    image: Float[np.ndarray, "n k"]
    r_squared: Float[np.ndarray, "k"]


def affine_match(learned: Float[np.ndarray, "n d"], exact: Float[np.ndarray, "n k"]) -> AffineMatch:
    """The affine map of learned statistics closest to the exact ones, by least squares.

    An exponential family determines its statistics up to an invertible affine map, so nothing less is to be compared.

    Raises:
        ValueError: if the numbers of samples differ, or an exact statistic does not vary.
    """
    if len(learned) != len(exact):
        raise ValueError(
            f"there are {len(learned)} learned and {len(exact)} exact statistics, must be as many"
        )
    spread = ((exact - exact.mean(axis=0)) ** 2).sum(axis=0)
    if np.any(spread == 0):
        raise ValueError("an exact statistic is the same for all samples, must vary")
    design = np.column_stack([np.ones(len(learned)), learned])
    image = design @ np.linalg.lstsq(design, exact, rcond=None)[0]
    return AffineMatch(image, 1 - ((exact - image) ** 2).sum(axis=0) / spread)


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """Learned and known statistics of the samples of a lattice, the known ones a site.

    Raises:
        ValueError: if samples or network are missing.
    """
    (case,) = cases
    if case.samples is None or case.samples.statistics is None or case.network is None:
        raise ValueError(f"{case.title} comes without samples with statistics, or without a network")
    network = ExponentialHalves.load(Path(case.network).parent)
    exact = case.samples.statistics / case.samples.sites
    return {"learned": network.statistics(case.samples.states), "exact": exact, "names": BONDS_AND_SPINS}


@style.theme()
def draw(
    learned: Float[np.ndarray, "n d"],
    exact: Float[np.ndarray, "n k"],
    *,
    names: Sequence[str] = NAMES,
) -> tuple[Figure, pd.DataFrame]:
    """Each exact statistic against the affine image of the learned ones, hexagons shaded by their number of samples.

    Args:
        learned: statistics of each sample from the network.
        exact: those of the family, in the units to show.
        names: of the exact statistics, with units.

    Returns:
        The figure, 7 inches wide, and a row per hexagon that holds a sample: ``statistic``, its centre as ``exact`` and
        ``learned``, ``count``, and the ``r_squared`` of the statistic over all samples.

    Raises:
        ValueError: if there are not as many names as exact statistics, and as ``affine_match`` does.
    """
    if len(names) != exact.shape[1]:
        raise ValueError(f"there are {len(names)} names of {exact.shape[1]} statistics, must be as many")
    match = affine_match(learned, exact)
    figure, panels = plane.matrix(
        1, len(names), width=style.DOUBLE_COLUMN, height=2.6, left=0.62, across=0.62, bottom=0.42, up=(), top=0.52
    )  # fmt: skip
    tables = []
    for k, (axes, name) in enumerate(zip(panels[0], names, strict=True)):
        table = _draw_hexagons(axes, exact[:, k], match.image[:, k], name, float(match.r_squared[k]))
        style.panel_letter(axes, "ABCDEFGH"[k], left=8)
        tables.append(table.assign(r_squared=match.r_squared[k]))
    return figure, pd.concat(tables, ignore_index=True)


def _draw_hexagons(
    axes: Axes, exact: Float[np.ndarray, "n"], image: Float[np.ndarray, "n"], name: str, r_squared: float
) -> pd.DataFrame:
    low, high = min(exact.min(), image.min()), max(exact.max(), image.max())
    margin = 0.03 * (high - low)
    box = (low - margin, high + margin)
    width = _hexagon_width(exact, high - low)
    left = exact.min() - np.ceil((exact.min() - box[0]) / width) * width
    count = int(np.ceil((box[1] - left) / width))
    # The frame of a panel is wider than high: hexagons that look regular need fewer rows.
    bins = axes.hexbin(
        exact, image, gridsize=(count, max(1, int(count / 1.9))), extent=(left, left + count * width, *box), mincnt=1,
        cmap="mako_r", norm=LogNorm(), linewidths=0.1, rasterized=True,
    )  # fmt: skip
    axes.plot(box, box, color=plane.ORANGE, linewidth=0.8, label="identity")
    axes.set(xlim=box, ylim=box, xlabel=name, ylabel="learned, affine image")
    style.round_ticks(axes, 5, 5)
    axes.legend(frameon=False, loc="lower right")
    axes.text(0.04, 0.95, f"$R^2$ = {r_squared:.4f}", transform=axes.transAxes, va="top")
    style.colour_bar(bins, "samples a hexagon")
    centre = bins.get_offsets()
    columns = {"exact": centre[:, 0], "learned": centre[:, 1], "count": bins.get_array().astype(int)}
    return pd.DataFrame({"statistic": name, **columns})


def _hexagon_width(exact: Float[np.ndarray, "n"], span: float) -> float:
    """About ``span / BINS``; where values are few, an even multiple of their step, so that no column falls between."""
    values = np.unique(exact)
    if not 1 < len(values) < 20 * BINS:
        return span / BINS
    step = float(np.median(np.diff(values)))
    return 2 * step * max(1, round(span / BINS / (2 * step)))
