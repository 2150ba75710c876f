"""What noise of the sampler leaves of a boundary: the exact Fisher metric across that of two modes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from hessgeo.evaluation.flow_boundaries import contrast_table, noise_table
from hessgeo.evaluation.tables import Case
from hessgeo.figures import parameter_plane as plane
from hessgeo.figures import style

ETAS = (0.2, 0.3, 0.45, 0.6, 0.75, 0.9)
RULES = {"ddim": "DDIM's rule", "renewal": "renewal of all noise"}


def gather(cases: Sequence[Case]) -> dict[str, Any]:
    """Metrics of two modes on a line, with the width and the steps of the first system that is shown."""
    from hessgeo.systems.solvable.noisy_flow import NoisyFlow

    system = cases[0].system
    if not isinstance(system, NoisyFlow):
        raise ValueError(f"{cases[0].title} is no sampler with noise")
    latents = np.linspace(-2, 2, 81)
    steps = len(system.widths)
    noise = noise_table(system.flow.sigma, steps, ETAS, latents, tuple(RULES))
    return {"noise": noise, "sigma": system.flow.sigma, "steps": steps}


@style.theme()
def draw(noise: pd.DataFrame, *, sigma: float, steps: int) -> tuple[Figure, pd.DataFrame]:
    """The metric against the latent, as a share of its least, for growing noise by both rules (A, B); its contrast (C).

    Args:
        noise: from ``noise_table``.
        sigma: width of the modes.
        steps: of the sampler.

    Returns:
        The figure, 7 inches wide, and the table with ``contrast`` and ``width`` of each profile beside it.
    """
    figure, panels = plane.matrix(
        1, 3, width=style.DOUBLE_COLUMN, height=1.75, left=0.55, across=0.5, bottom=0.45, up=(), top=0.3
    )
    etas = list(dict.fromkeys(noise["eta"]))
    shades = dict(zip(etas, style.colour_map("mako_r")(np.linspace(0.15, 0.85, len(etas))), strict=True))
    contrasts = contrast_table(noise)
    for axes, (rule, words), colour, marker in zip(
        panels[0][:2], RULES.items(), (plane.RED, plane.BLUE), "os", strict=True
    ):
        for eta, own in noise[noise["eta_rule"] == rule].groupby("eta"):
            relative = own["metric"] / own["metric"].min()
            axes.plot(own["latent"], relative, color=shades[eta], linewidth=1, label=f"{eta:g}")
        axes.set(xlabel="latent $z$", title=f"{words}, {steps} steps")
        axes.set_ylim(0.98, 1 + 1.55 * (contrasts["contrast"].max() - 1))
        own = contrasts[contrasts["eta_rule"] == rule]
        panels[0][2].plot(
            own["eta"], own["contrast"], color=colour, marker=marker, markersize=3, linewidth=1, label=words
        )
    panels[0][0].set_ylabel("Fisher metric / its least")
    for axes in panels[0][:2]:
        axes.legend(
            title=r"$\eta$", frameon=False, loc="upper center", borderpad=0, handlelength=1, labelspacing=0.15, ncols=3,
            columnspacing=0.8,
        )  # fmt: skip
    panels[0][2].set(xlabel=r"noise $\eta$", ylabel="largest / least", title=rf"$\sigma$ = {sigma:g}")
    panels[0][2].axhline(1, color="0.6", linewidth=0.8, linestyle=(0, (4, 2)), zorder=0)
    panels[0][2].set_ylim(0.98, 1 + 1.4 * (contrasts["contrast"].max() - 1))
    panels[0][2].legend(frameon=False, borderpad=0.1, handlelength=1.4, loc="upper right")
    for axes, letter in zip(panels[0], "ABC", strict=True):
        style.panel_letter(axes, letter)
    return figure, noise.merge(contrasts, on=["eta_rule", "eta"])
