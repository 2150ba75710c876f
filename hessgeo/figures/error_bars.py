"""Standard errors of the free energy, its gradient and the metric."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm as normal

from hessgeo.figures import style
from hessgeo.figures.free_energy import without_affine_part

BAND = float(normal.ppf(0.975))  # half width of a 95 % band in standard errors
ABSENT = "this fit gives\nno standard errors"

Fields = Mapping[str, Float[np.ndarray, "a b"]]


@style.theme()
def draw(dataset: xr.Dataset) -> tuple[Figure, pd.DataFrame]:
    """Standard errors as maps (A-C) and with 95 % bands on a cut along ``a`` at the middle ``b`` (D-F).

    The error of a vector or a matrix is the root of the sum of its components' squared errors. In the
    titles: the median error of ``F`` over its range, of ``grad F`` over its root mean square deviation
    from its mean, and of ``g`` over its Frobenius norm cell by cell; none of them moves with the gauge.

    Args:
        dataset: ``free_energy``, ``gradient (a, b, i)``, ``fisher_metric (a, b, i, j)``, each with
            ``<name>_error``. Errors that are NaN everywhere (a fit without them) are said to be absent.

    Returns:
        The figure, 7 inches wide, and a row per node: ``a``, ``b``, ``on_cut``, and in nats per ``N``
        the values of ``F`` (affine part removed), ``dF_da``, ``F_aa`` and the standard errors of ``F``,
        ``dF_da``, ``F_aa``, ``gradient``, ``metric``.
    """
    a, b = style.axes_of(dataset)
    shown = _fields(dataset)
    middle = len(b) // 2
    figure, panels = _panels(style.height_ratio(a, b))
    relative = _relative_errors(dataset, shown)
    maps = {"F": "$F$", "gradient": r"$\nabla F$", "metric": "$g$"}
    for k, (axes, (name, symbol)) in enumerate(zip(panels[0], maps.items(), strict=True)):
        errors = shown[f"{name}_error_nats_per_N"]
        style.label_parameters(axes, vertical=k == 0)
        _draw_error_map(axes, errors, a, b, f"s.e. of {symbol} (nats per $N$)", relative[name])
        style.panel_letter(axes, "ABC"[k])
    cuts = [
        ("F_affine_removed", "F", "$F$"),
        ("dF_da", "dF_da", r"$\partial F/\partial a$"),
        ("F_aa", "F_aa", "$F_{aa}$"),
    ]
    for k, (axes, (value, error, symbol)) in enumerate(zip(panels[1], cuts, strict=True)):
        line, errors = shown[f"{value}_nats_per_N"], shown[f"{error}_error_nats_per_N"]
        _draw_cut(axes, a, line[:, middle], errors[:, middle])
        axes.set_ylabel(f"{symbol} (nats per $N$)")
        axes.set_title(f"cut at $b$ = {b[middle]:.3g}")
        style.panel_letter(axes, "DEF"[k])
    on_cut = np.zeros((len(a), len(b)), dtype=bool)
    on_cut[:, middle] = True
    return figure, style.node_table(a, b, {"on_cut": on_cut, **shown})


def _panels(ratio: float) -> tuple[Figure, tuple[list[Axes], list[Axes]]]:
    """Three maps above three cuts of the same width."""
    left, gap, bottom, cut, middle, top = 0.6, 0.62, 0.37, 1.3, 0.64, 0.68
    side = (style.DOUBLE_COLUMN - left - 2 * gap - 0.12) / 3
    shape = min(ratio, (style.PAGE_HEIGHT - top - middle - cut - bottom) / side)
    figure = Figure(figsize=(style.DOUBLE_COLUMN, bottom + cut + middle + side * shape + top))
    lefts = [left + k * (side + gap) for k in range(3)]
    maps = [style.place(figure, x, bottom + cut + middle, side, side * shape) for x in lefts]
    return figure, (maps, [style.place(figure, x, bottom, side, cut) for x in lefts])


def _fields(dataset: xr.Dataset) -> Fields:
    """Values and standard errors that the panels show, by the names of the table's columns."""
    gradient_error = style.field(dataset, "gradient_error")
    metric_error = style.field(dataset, "fisher_metric_error")
    return {
        "F_affine_removed_nats_per_N": without_affine_part(dataset),
        "F_error_nats_per_N": style.field(dataset, "free_energy_error"),
        "dF_da_nats_per_N": style.field(dataset, "gradient")[..., 0],
        "dF_da_error_nats_per_N": gradient_error[..., 0],
        "F_aa_nats_per_N": style.field(dataset, "fisher_metric")[..., 0, 0],
        "F_aa_error_nats_per_N": metric_error[..., 0, 0],
        "gradient_error_nats_per_N": np.sqrt((gradient_error**2).sum(axis=-1)),
        "metric_error_nats_per_N": np.sqrt((metric_error**2).sum(axis=(-2, -1))),
    }


def _relative_errors(dataset: xr.Dataset, shown: Fields) -> dict[str, float]:
    """Median relative error of ``F``, ``grad F`` and ``g``; NaN where a fit has no errors."""
    gradient, metric = style.field(dataset, "gradient"), style.field(dataset, "fisher_metric")
    deviation = gradient - gradient.mean(axis=(0, 1))
    scales = {
        "F": np.ptp(shown["F_affine_removed_nats_per_N"]),
        "gradient": np.sqrt((deviation**2).sum(axis=-1).mean()),
        "metric": np.sqrt((metric**2).sum(axis=(-2, -1))),
    }
    return {
        name: float(np.median(shown[f"{name}_error_nats_per_N"] / scale)) for name, scale in scales.items()
    }


def _draw_error_map(
    axes: Axes,
    errors: Float[np.ndarray, "a b"],
    a: Float[np.ndarray, "a"],
    b: Float[np.ndarray, "b"],
    label: str,
    relative: float,
) -> None:
    """Map of a standard error on a logarithmic scale, or a sentence that there is none."""
    percent = 100 * relative
    image = style.show_field(axes, errors, a, b, cmap="mako", norm=style.log_norm(errors))
    if not np.isfinite(errors).any():
        axes.text(0.5, 0.5, ABSENT, transform=axes.transAxes, ha="center", va="center")
        axes.set_title(label)
        return
    style.colour_bar(image, f"{label}\nmedian relative error {percent:{'.2g' if percent < 99 else '.0f'}} %")


def _draw_cut(
    axes: Axes, a: Float[np.ndarray, "a"], values: Float[np.ndarray, "a"], errors: Float[np.ndarray, "a"]
) -> None:
    """A line with its 95 % band where there are errors."""
    if np.isfinite(errors).any():
        half = BAND * errors
        axes.fill_between(a, values - half, values + half, color="#0173b2", alpha=0.3, linewidth=0)
    axes.plot(a, values, color="#0173b2")
    axes.set_xlabel("latent coordinate $a$")
    axes.set_xlim(a[0], a[-1])
    style.round_ticks(axes, 4, 5)
    axes.ticklabel_format(axis="y", scilimits=(-2, 4), useMathText=True)
