"""Two modes on a line: how sharp a boundary the flow makes between them (Proposition 4.1 of Lobashev et al.)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hessgeo.evaluation.flow_boundaries import boundary_table, pair_flow, steps_table
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style
from hessgeo.systems.solvable.mode_pair import ModePair

SIGMAS = (0.2, 0.3, 0.5, 0.8)
MEASURED = (0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
COUNTS = (5, 10, 25, 50, 100, 200, 500, 1000)


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """The flow of one pair of modes, whatever the systems of the run are."""
    z = np.linspace(-2.5, 2.5, 501)
    maps = [pd.DataFrame({"sigma": s, "z": z, "x": pair_flow(s).map(z[:, None])[:, 0]}) for s in SIGMAS]
    return {
        "maps": pd.concat(maps, ignore_index=True),
        "boundary": boundary_table(MEASURED),
        "steps": steps_table(SIGMAS, COUNTS),
    }


@style.theme()
def draw(maps: pd.DataFrame, boundary: pd.DataFrame, steps: pd.DataFrame) -> tuple[Figure, pd.DataFrame]:
    """The exact map (A), its slope and the flow's rate at the boundary against the width (B), and the steps (C).

    Args:
        maps: ``sigma, z, x``.
        boundary: from ``boundary_table``.
        steps: from ``steps_table``.

    Returns:
        The figure, 7 inches wide, and a tidy table: ``panel``, ``sigma``, ``x``, ``name``, ``value``.
    """
    figure, panels = plane.matrix(
        1, 3, width=style.DOUBLE_COLUMN, height=1.75, left=0.55, across=0.6, bottom=0.45, up=(), top=0.25
    )
    first, second, third = panels[0]
    sigmas = list(dict.fromkeys(maps["sigma"]))
    shades = dict(zip(sigmas, plane.colours(len(sigmas)), strict=True))
    for sigma, own in maps.groupby("sigma"):
        first.plot(own["z"], own["x"], color=shades[sigma], linewidth=1, label=f"{sigma:g}")
    first.set(xlabel="noise $z$", ylabel="data $x$", xlim=(maps["z"].min(), maps["z"].max()))
    first.legend(
        title=r"$\sigma$", frameon=False, loc="lower right", borderpad=0, handlelength=1.2, labelspacing=0.2
    )
    fine = np.linspace(boundary["sigma"].min(), boundary["sigma"].max(), 200)
    for name, colour, marker, text in (
        ("lipschitz", plane.RED, "o", r"largest slope, $\sigma\, e^{1/(2\sigma^2)}$"),
        ("rate", plane.BLUE, "s", r"rate$\,/\,\beta$, Prop. 4.1"),
    ):
        second.plot(fine, [exact(s, name) for s in fine], color=colour, linewidth=1, label=text)
        second.plot(boundary["sigma"], boundary[name], marker, color=colour, markersize=3)
    second.set(yscale="log", xlabel=r"width of a mode $\sigma$", ylabel="at the boundary")
    second.set_ylim(0.3, 3 * boundary["exact_lipschitz"].max())
    second.legend(frameon=False, loc="upper right", borderpad=0, handlelength=1.4, labelspacing=0.2)
    for sigma, own in steps.groupby("sigma"):
        third.plot(own["steps"], own["share"], marker="o", markersize=3, color=shades[sigma], linewidth=1)
    third.axhline(1, color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    third.set(xscale="log", xlabel="steps of DDIM", ylabel="largest slope / exact")
    for axes, letter in zip(panels[0], "ABC", strict=True):
        style.panel_letter(axes, letter)
    return figure, _table(maps, boundary, steps)


def exact(sigma: float, name: str) -> float:
    """What ``boundary_table`` calls ``exact_lipschitz`` or ``exact_rate``."""
    pair = ModePair(sigma)
    return pair.lipschitz if name == "lipschitz" else pair.rate()


def _table(maps: pd.DataFrame, boundary: pd.DataFrame, steps: pd.DataFrame) -> pd.DataFrame:
    parts = [
        maps.rename(columns={"z": "x", "x": "value"}).assign(panel="A", name="map"),
        boundary.melt("sigma", var_name="name").assign(panel="B"),
        steps.rename(columns={"steps": "x", "share": "value"}).assign(panel="C", name="share"),
    ]
    parts[1]["x"] = parts[1]["sigma"]
    return pd.concat(parts, ignore_index=True)[["panel", "sigma", "x", "name", "value"]]
