"""What the numbers of each figure say, in a sentence or two of plain words, for its caption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import pandas as pd

from hessgeo import store
from hessgeo.pipeline.captions import Drawn


def _numbers(made: Drawn, step: str) -> Mapping[str, Any]:
    """The numbers of a step of the first study."""
    found: Mapping[str, Any] = store.read_json(made.numbers[0])[step]
    return found


def _table(made: Drawn) -> pd.DataFrame:
    """The numbers in the figure."""
    return store.read_table(made.table)


def _module(name: str) -> Any:
    """The module of a figure that says its verdict itself."""
    return import_module(f"hessgeo.figures.{name}")


def _count(number: int, noun: str, plural: str = "") -> str:
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


# --- of a study ---


def _mosaic(made: Drawn) -> str:
    samples, phases = (
        _numbers(made, "posterior")["samples"],
        store.read_json(made.results["phases"])["phases"],
    )
    largest = max(phase["area"] for phase in phases)
    shown = f"{len(_table(made)):,} of {samples:,} images are shown"
    return f"{shown}; the largest of {len(phases)} phases has {largest:.0%} of the area."


def _fit(made: Drawn) -> str:
    fit = _numbers(made, "free_energy")
    converged = "converged" if fit["converged"] else "did NOT converge"
    explained = fit.get("explained_divergence")
    noise = "" if explained is None else f", of which noise explains up to {explained:.3g}"
    return (
        f"The fit {converged} and is {fit['verdict']}; measured and fitted posteriors differ by "
        f"{fit['mean_divergence']:.3g} nats in the mean{noise}."
    )


def _first_derivatives(made: Drawn) -> str:
    slopes = _table(made)[["dF_da_nats_per_N", "dF_db_nats_per_N"]].to_numpy()
    size = float(np.sqrt(np.mean((slopes**2).sum(axis=1))))
    return f"Slopes have a root mean square of {size:.3g} nats per unit of N."


def _second_derivatives(made: Drawn) -> str:
    metric = _numbers(made, "metric")
    median, last = metric["largest_eigenvalue_median"], metric["largest_eigenvalue_99"]
    return (
        f"{_definite(metric)}; its largest eigenvalue is {median:.3g} in the median, and above {last:.3g} in one node "
        f"of a hundred, {last / median:.0f} times as much."
    )


def _definite(metric: Mapping[str, Any]) -> str:
    return f"The metric is positive definite at {metric['positive_definite_share']:.1%} of the nodes"


def _metric(made: Drawn) -> str:
    metric = _numbers(made, "metric")
    share, error = metric["antisymmetric_share"], metric.get("antisymmetric_share_error")
    told = "" if error is None else f" ± {error:.2g}"
    large = error is not None and share > 2 * error
    judged = (
        "more than two errors: the response of the slopes is that of no potential"
        if large
        else "what the grid may hide"
    )
    measured = metric.get("measured_metric_relative_difference_median")
    without = (
        ""
        if measured is None
        else f" The metric measured without F differs from it by {measured:.0%} (median)."
    )
    return f"{_definite(metric)}. The antisymmetric share is {share:.2g}{told}, {judged}.{without}"


def _phases(made: Drawn) -> str:
    phases = _numbers(made, "phases")
    words = ", ".join(
        (
            _count(phases["phases"], "phase"),
            _count(phases["boundaries"], "boundary", "boundaries"),
            _count(phases["triple_points"], "triple point"),
        )
    )
    strengths = phases.get("strengths") or []
    if not strengths:
        return f"{words}."
    least = min(strengths, key=lambda one: one["strength"])
    (first, other), times = least["phases"], least["strength"] / phases["persistence"]
    return (
        f"{words}. The weakest boundary, {first}|{other}, has strength {least['strength']:.2g}, {times:.1f} times the "
        "persistence that was asked for."
    )


def _posteriors(made: Drawn) -> str:
    variation = _table(made).groupby("source")["total_variation"].first()
    return (
        f"Total variation of measured and fitted posteriors: {variation.median():.2g} in the median of the "
        f"{len(variation)} that are shown, {variation.max():.2g} at most. {_fit(made)}"
    )


def _lipschitz(made: Drawn) -> str:
    phases = _numbers(made, "phases")
    median, last = phases["lipschitz_median"], phases["lipschitz_99"]
    return (
        f"The constant is {median:.2g} in the median, and above {last:.3g} in one node of a hundred: "
        f"{last / median:.0f} times as steep."
    )


def _voronoi(made: Drawn) -> str:
    table = _table(made)
    # Where the cell of a medoid and its phase overlap, of the area of all phases.
    agreed = float((table["agreement"] * table["phase_share"]).sum() / table["phase_share"].sum())
    least = table.loc[table["agreement"].idxmin()]
    return (
        f"The nearest medoid is that of the phase at {agreed:.1%} of the area, least in phase {int(least['label'])} "
        f"({least['agreement']:.1%})."
    )


def _distances(made: Drawn) -> str:
    distance = _table(made)["distance_from_medoid"]
    return (
        f"From the medoid of its phase a point is {distance.median():.3g} away in the median, "
        f"{distance.max():.3g} at most."
    )


def _resolution_scan(made: Drawn) -> str:
    scan = _numbers(made, "resolution_scan")
    counts, n = scan["phases"], scan["N"]
    same = f"{counts[0]} at all" if len(set(counts)) == 1 else f"{', '.join(map(str, counts))} at the"
    resolved = sum(scan.get("resolved", []))
    fates = pd.Series([line["verdict"] for line in scan.get("boundaries", [])], dtype=object).value_counts()
    fate = ", ".join(f"{count} {word}" for word, count in fates.items())
    return (
        f"Phases: {same} {len(n)} resolutions, N from {min(n):.3g} to {max(n):.3g}; the fit is resolved at "
        f"{resolved} of them.{f' Boundaries with growing N: {fate}.' if fate else ''}"
    )


def _error_bars(made: Drawn) -> str:
    table, metric = _table(made), _numbers(made, "metric")
    error = table["metric_error_nats_per_N"].median()
    return (
        f"Standard errors in the median: {table['F_error_nats_per_N'].median():.2g} of F, "
        f"{table['gradient_error_nats_per_N'].median():.2g} of its slopes, {error:.2g} of the metric, which is "
        f"{error / metric['largest_eigenvalue_median']:.0%} of the median of its largest eigenvalue."
    )


def _calibration(made: Drawn) -> str:
    calibration = _numbers(made, "calibration")
    said = [
        f"{kind} posteriors are {part['verdict']} (p = {part['p_value']:.2g}; intervals of 90 % hold "
        f"{part['coverage_90']:.1%}, the truth being {part['truth']})"
        for kind in ("measured", "fitted")
        if (part := calibration.get(kind))
    ]
    return f"{'; '.join(said).capitalize()}." if said else ""


def _coordinates(made: Drawn) -> str:
    table = _table(made)
    losses = table.dropna(subset=["divergence_nats"])
    told = ", ".join(
        f"{row.divergence_nats:.3g} nats with {row.dimension:g}" for row in losses.itertuples(index=False)
    )
    return f"Divergence of measured and fitted posteriors by the number of coordinates: {told}. {_fit(made)}"


def _profile(made: Drawn) -> str:
    table = _table(made)
    definite = float(table["positive_definite"].mean())
    phases = _count(int(table["phase"].nunique()), "phase")
    return f"{phases} along the path; the metric is positive at {definite:.1%} of the nodes. {_fit(made)}"


def _inversion(made: Drawn) -> str:
    table = _table(made)
    worst = table["error_in_slice"].max()
    return (
        f"Of {_count(len(table), 'image')} the slice misses {table['error_in_slice'].mean():.2g} of the variance in "
        f"the mean, {worst:.2g} at most; of that the autoencoder alone {table['error_of_autoencoder'].mean():.2g}."
    )


# --- of the targets beside it ---


def _geodesic_mosaic(made: Drawn) -> str:
    curves = _table(made).groupby("curve").first()
    certified, ratio = int(curves["certified"].sum()), curves["length"] / curves["length_of_line"]
    return (
        f"{certified} of the {len(curves)} geodesics that are drawn are certified; their length is "
        f"{ratio.median():.2f} of the straight line's in the median, {ratio.min():.2f} at least."
    )


def _interpolation_strips(made: Drawn) -> str:
    steps = _table(made).dropna(subset=["step"]).groupby(["way", "pair"])["step"].max().groupby("way").mean()
    told = ", ".join(f"{value:.3g} ({way})" for way, value in steps.sort_values().items())
    return f"Largest step of the embedding along a strip, mean over pairs: {told}."


def _history(made: Drawn) -> str:
    return str(store.read_json(made.results["history"])["summary"])


def _history_maps(made: Drawn) -> str:
    table = _table(made)
    counts = table.groupby("step")["phase"].nunique()
    finals, last = table.groupby("step")["final"].nunique(), int(counts.iloc[-1])
    all_there = finals[finals >= last].index.min()
    steps = ", ".join(f"{count} at {step}" for step, count in counts.iloc[:-1].items())
    since = (
        f"All final phases are there from step {all_there} of those shown."
        if all_there < counts.index[-1]
        else "No step shown has all final phases."
    )
    return f"Phases of the predictions by step: {steps}; {last} of the images. {since}"


def _history_comparison(made: Drawn) -> str:
    histories = [store.read_json(path) for path in made.results["history"]]
    fields = [store.read_dataset(path) for path in made.results["history_fields"]]
    return " ".join(_module("history_comparison").verdict_lines(histories, fields, made.names))


def _stability(made: Drawn) -> str:
    return " ".join(_module("stability").verdict_lines(store.read_json(made.results["stability"])))


def _zoom(name: str) -> Callable[[Drawn], str]:
    def told(made: Drawn) -> str:
        series = store.read_json(made.results["zoom_verdicts"])
        return " ".join(f"{key}: {_module(name).verdict_line(found)}." for key, found in series.items())

    return told


def _safety(made: Drawn) -> str:
    return str(_module("safety").verdict_line(store.read_json(made.results["safety"])))


def _morph(made: Drawn) -> str:
    return str(_module("morph").verdict_line(store.read_dataset(made.results["morph"])))


def _refinement(made: Drawn) -> str:
    return str(_module("refinement").verdict_line(store.read_json(made.results["refined_numbers"])))


def _routes(made: Drawn) -> str:
    told = []
    for name, path in zip(made.names, made.numbers, strict=True):
        numbers = store.read_json(path)
        resolved = "" if numbers["free_energy"]["resolved"] else ", NOT resolved"
        definite = numbers["metric"]["positive_definite_share"]
        told.append(
            f"{name}: {_count(numbers['phases']['phases'], 'phase')}, positive definite at {definite:.1%}{resolved}"
        )
    return f"{'; '.join(told)}."


def _model_differences(made: Drawn) -> str:
    return str(store.read_json(made.results["measured"])["finding"])


def _noise_scan(made: Drawn) -> str:
    return str(store.read_json(made.results["noise_numbers"])["finding"])


# --- of solvable systems ---


def _noisy_flow(made: Drawn) -> str:
    rules = {"ddim": "DDIM's rule", "renewal": "renewal"}
    told = []
    for rule, own in _table(made).groupby("eta_rule", sort=False):
        contrast = own.groupby("eta")["contrast"].first().sort_index()
        falls = "falls steadily" if (np.diff(contrast) < 0).all() else "does not fall steadily"
        told.append(
            f"by {rules.get(str(rule), rule)} it {falls}, from {contrast.iloc[0]:.3g} at eta {contrast.index[0]:g} to "
            f"{contrast.iloc[-1]:.3g} at {contrast.index[-1]:g}"
        )
    return f"The contrast of the boundary, largest metric over least: {'; '.join(told)}. One would be no boundary."


def _mode_pair(made: Drawn) -> str:
    table = _table(made)
    boundary = table[table["panel"] == "B"].pivot_table("value", "sigma", "name")
    off = (boundary["lipschitz"] / boundary["exact_lipschitz"] - 1).abs().max()
    steps = table[table["panel"] == "C"]
    least = steps.loc[steps["value"].idxmin()]
    return (
        f"The slope at the boundary differs from sigma exp(1 / (2 sigma^2)) by {off:.1e} at most, and is finite for "
        f"every sigma; {least['x']:g} steps of DDIM have {least['value']:.0%} of it at sigma {least['sigma']:g}."
    )


VERDICTS: Mapping[str, Callable[[Drawn], str]] = {
    "mosaic": _mosaic,
    "free_energy": _fit,
    "first_derivatives": _first_derivatives,
    "first_derivatives_over_images": _first_derivatives,
    "second_derivatives": _second_derivatives,
    "second_derivatives_over_images": _second_derivatives,
    "metric": _metric,
    "phases": _phases,
    "posteriors": _posteriors,
    "lipschitz": _lipschitz,
    "distances": _distances,
    "voronoi": _voronoi,
    "resolution_scan": _resolution_scan,
    "error_bars": _error_bars,
    "calibration": _calibration,
    "coordinates": _coordinates,
    "profile": _profile,
    "inversion": _inversion,
    "geodesic_mosaic": _geodesic_mosaic,
    "interpolation_strips": _interpolation_strips,
    "history": _history,
    "history_maps": _history_maps,
    "history_comparison": _history_comparison,
    "stability": _stability,
    "zoom_strip": _zoom("zoom_strip"),
    "zoom_scales": _zoom("zoom_scales"),
    "safety": _safety,
    "morph": _morph,
    "refinement": _refinement,
    "routes": _routes,
    "model_differences": _model_differences,
    "noise_scan": _noise_scan,
    "noisy_flow": _noisy_flow,
    "mode_pair": _mode_pair,
}
"""By the name of the figure: of every study, comparison and flow."""
