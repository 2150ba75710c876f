"""What came out here of each figure and table of the papers, and whether it is what they report.

Each function takes the tables of numbers beside its figures, in their order, and the other numbers that its entry
reads, and says what it found and a verdict by a rule that stands beside it. Nothing is judged by eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

REPRODUCED, IN_PART, REFUTED, UNRESOLVED = "reproduced", "in part", "not reproduced", "not resolved"

Tables = Sequence[pd.DataFrame]
Numbers = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What came out.

    Attributes:
        found: in a sentence.
        verdict: against what the paper reports.
        rule: by which it was decided.
    """

    found: str
    verdict: str
    rule: str


def _judged(found: str, holds: bool, rule: str, *, partly: bool = False) -> Outcome:
    return Outcome(found, REPRODUCED if holds else IN_PART if partly else REFUTED, rule)


def sharpening(tables: Tables, _: Numbers) -> Outcome:
    """Theorem 3.1: the error of ``p^(1/N)`` falls as its statistics do."""
    (table,) = tables
    rms = table[(table["panel"] == "C") & (table["name"] == "rms")].sort_values("N")
    upper = rms.iloc[len(rms) // 2 :]
    slope = float(np.polyfit(np.log(upper["N"]), np.log(upper["value"]), 1)[0])
    first, last = rms.iloc[0], rms.iloc[-1]
    found = (
        f"The error of p^(1/N) falls from {first['value']:.2g} at N = {first['N']:.0f} to {last['value']:.2g} at "
        f"N = {last['N']:.0f}, as N to the {slope:.2f}."
    )
    return _judged(found, slope <= -0.35, "the exponent is at most -0.35; the theorem's is -0.5 or steeper")


def bregman(tables: Tables, _: Numbers) -> Outcome:
    """The posterior of N samples against the exponential of the divergence."""
    (table,) = tables
    error = np.abs(table["posterior"] - table["exponential"]).groupby(table["N"]).max()
    worst, count = float(error.iloc[-1]), int(error.index[-1])
    found = f"At N = {count} the two surfaces differ by {worst:.3f} of their height, at most."
    if len(error) > 1:
        found += f" At N = {error.index[0]} it is {error.iloc[0]:.3f}."
    return _judged(found, worst <= 0.15, "the largest difference is at most 0.15 of the height")


def mode_pair(tables: Tables, _: Numbers) -> Outcome:
    """Proposition 4.1: the rate at which neighbours part at the boundary, and the slope that comes of it."""
    (table,) = tables
    boundary = table[table["panel"] == "B"].pivot(index="sigma", columns="name", values="value").sort_index()
    errors = {
        name: float((boundary[name] / boundary[f"exact_{name}"] - 1).abs().max())
        for name in ("rate", "lipschitz")
    }
    narrow = boundary.index[0]
    found = (
        f"The rate is that of the proposition to {errors['rate']:.1g}. The map's slope is sigma exp(1 / (2 sigma^2)) "
        f"to {errors['lipschitz']:.1g}: {boundary['lipschitz'].iloc[0]:.4g} at sigma = {narrow:g}, "
        "finite for every sigma."
    )
    rule = "the rate and the slope are known to 1 %"
    return _judged(found, max(errors.values()) <= 0.01, rule)


def potentials(tables: Tables, _: Numbers) -> Outcome:
    """An estimated potential, and its derivatives where there are any, against the exact ones."""
    (table,) = tables
    errors = {}
    for name in table.columns:
        if name.endswith("difference"):
            stem = name.removesuffix("difference").rstrip("_")
            exact = table[f"{stem}_exact" if stem else "exact"]
            errors[stem or "F"] = float(np.sqrt(np.mean(table[name] ** 2)) / np.ptp(exact))
    words = ", ".join(f"{name} {100 * error:.1f} %" for name, error in errors.items())
    found = f"RMS error against the exact solution, of the range: {words}."
    worst = max(errors.values())
    rule = "each error is at most 5 % of the range; in part up to 15 %"
    return _judged(found, worst <= 0.05, rule, partly=worst <= 0.15)


def landscape(_: Tables, numbers: Numbers) -> Outcome:
    """A free energy of several phases."""
    (study,) = numbers
    count, fit = study["phases"]["phases"], study["free_energy"]
    strengths = [line["strength"] for line in study["phases"]["strengths"]]
    rises = f", boundaries {min(strengths):.1f} to {max(strengths):.1f} nats high" if strengths else ""
    found = (
        f"{count} phases{rises}; the fitted posteriors lie {fit['mean_divergence']:.3f} nats from the measured ones, "
        f"the metric is positive definite at {100 * study['metric']['positive_definite_share']:.1f} % of nodes."
        if "mean_divergence" in fit
        else f"{count} phases{rises}."
    )
    return _judged(found, count > 1, "more than one phase above the noise")


def zoom(_: Tables, numbers: Numbers) -> Outcome:
    """Windows about a boundary, in several precisions, each with its verdicts."""
    (measured,) = numbers
    words = []
    for name, series in measured.items():
        shape, law = series["boundary"], next(iter(series["lipschitz"].values()))
        size = f" (dimension {shape['box_dimension']:.2f})" if shape.get("box_dimension") is not None else ""
        words.append(f"{name}: boundary {shape['verdict']}{size}, Lipschitz constant: {law['verdict']}")
    told = {series["boundary"]["verdict"] for series in measured.values()} - {UNRESOLVED}
    rule = "the boundary is fractal in every precision that resolves it; in part in one of them"
    found = f"{'; '.join(words)}."
    if not told:
        return Outcome(found, UNRESOLVED, rule)
    return _judged(found, told == {"fractal"}, rule, partly=bool(told & {"fractal", "both"}))


def paths(_: Tables, numbers: Numbers) -> Outcome:
    """Whether the geodesic is smoother than the line, and whether slopes turn at boundaries."""
    (tables,) = numbers
    return _against_line(
        tables, "the whole interval of the geodesic's embedding length less the line's lies below 0"
    )


def table_2(_: Tables, numbers: Numbers) -> Outcome:
    """The same of all scores that the table has."""
    (tables,) = numbers
    outcome = _against_line(tables, "as of Fig. 7, on all pairs")
    row = _row(tables, "all")
    words = [
        f"{name} {row[f'{name}_difference']:+.3g} [{row[f'{name}_low']:.3g}, {row[f'{name}_high']:.3g}]"
        for name in ("pixels", "perceptual_path_length", "curvature")
        if row.get(f"{name}_low") is not None
    ]
    return Outcome(f"{outcome.found} Of the others: {'; '.join(words)}." if words else outcome.found,
                   outcome.verdict, outcome.rule)  # fmt: skip


def _row(tables: Mapping[str, Any], split: str) -> Mapping[str, Any]:
    rows = [row for row in tables["table2"] if row["method"] == "fisher" and row["pairs"] == split]
    return rows[0] if rows else {}


def _against_line(tables: Mapping[str, Any], rule: str) -> Outcome:
    words, verdict = [], UNRESOLVED
    for split in ("all", "across a boundary"):
        row = _row(tables, split)
        if row.get("embedding_low") is None:
            continue
        low, high = row["embedding_low"], row["embedding_high"]
        words.append(
            f"{row['embedding_difference']:+.3f} [{low:.3f}, {high:.3f}] ({split}, {row['count']} pairs)"
        )
        if split == "all":
            verdict = REPRODUCED if high < 0 else REFUTED if low > 0 else UNRESOLVED
    found = (
        f"Embedding length of the Fisher geodesic less the straight line's: {'; '.join(words) or 'no pairs'}."
    )
    return Outcome(found, verdict, rule)


def smoothing(_: Tables, numbers: Numbers) -> Outcome:
    """What noise of the sampler does to the landscape."""
    still, noisy = numbers
    pairs = {
        "99th percentile of the largest eigenvalue": (
            still["metric"]["largest_eigenvalue_99"],
            noisy["metric"]["largest_eigenvalue_99"],
        ),
        "phases": (still["phases"]["phases"], noisy["phases"]["phases"]),
        "99th percentile of the Lipschitz constant": (
            still["phases"]["lipschitz_99"],
            noisy["phases"]["lipschitz_99"],
        ),
    }
    found = "Without noise and with it: " + "; ".join(
        f"{k} {a:.3g} and {b:.3g}" for k, (a, b) in pairs.items()
    )
    before, after = pairs["99th percentile of the largest eigenvalue"]
    return _judged(
        f"{found}.", after < before, "the 99th percentile of the largest eigenvalue falls with noise"
    )


def one_phase(_: Tables, numbers: Numbers) -> Outcome:
    """A generator with a single dominant phase."""
    (study,) = numbers
    count = study["phases"]["phases"]
    return _judged(f"{count} phases.", count == 1, "one phase")


def posteriors(tables: Tables, _: Numbers) -> Outcome:
    """Fitted against measured posteriors of some sources."""
    (table,) = tables
    apart = table.groupby("source")["total_variation"].first()
    found = f"Total variation between measured and fitted: {apart.mean():.3f} on average over {len(apart)} sources"
    found += f", {apart.max():.3f} at most."
    return _judged(found, apart.mean() <= 0.2, "at most 0.2 on average")


def plateaus(tables: Tables, _: Numbers) -> Outcome:
    """Whether the slopes are constant within phases, and differ between them."""
    table = tables[0]
    slopes = [name for name in table.columns if name.startswith("dF_d")]
    centred = table[slopes] - table[slopes].mean()
    within = table[slopes] - table.groupby("label")[slopes].transform("mean")
    share = 1 - float(np.square(within).sum().sum() / np.square(centred).sum().sum())
    found = (
        f"Which of {table['label'].nunique()} phases a node is in explains {100 * share:.1f} % of its slope."
    )
    return _judged(found, share >= 0.8, "at least 80 % of the variance of the gradient lies between phases")


def table_1(_: Tables, numbers: Numbers) -> Outcome:
    """Our best estimator against the paper's, each at its own size."""
    (tables,) = numbers
    words, better = [], []
    for system in dict.fromkeys(row["system"] for row in tables["table1"]):
        rows = [row for row in tables["table1"] if row["system"] == system]
        theirs = [row for row in rows if row["method"] == "Convex (paper)"]
        ours = [row for row in rows if row["kind"] == "estimate" and row["first"] is not None]
        if not theirs or not ours:
            continue
        best = min(ours, key=lambda row: row["first"] + row["second"])
        scores = [f"{best[name]:.4f} for {theirs[0][name]:.4f}" for name in ("value", "first", "second")
                  if best[name] is not None]  # fmt: skip
        better.append(best["first"] <= theirs[0]["first"] and best["second"] <= theirs[0]["second"])
        words.append(f"{system} ({best['method']}): {', '.join(scores)}")
    found = (
        f"RMSE of F and of its derivatives here, for the paper's: {'; '.join(words)}. Sizes are not theirs."
    )
    rule = "the best estimator's derivatives are at least as near as the paper's on every system"
    return _judged(found, bool(better) and all(better), rule, partly=any(better))


def nearer_the_data(tables: Tables, _: Numbers) -> Outcome:
    """Paths that seek out the data as lam falls."""
    table = tables[0].sort_values("lam", ascending=False)
    first, last = table.iloc[0], table.iloc[-1]
    found = (
        f"From lam = {first['lam']:g} to {last['lam']:g} the mean log density along the path rises from "
        f"{first['mean_log_density']:.2f} to {last['mean_log_density']:.2f} nats, its Euclidean length from "
        f"{first['euclidean_length']:.2f} to {last['euclidean_length']:.2f}."
    )
    rises = bool((np.diff(table["mean_log_density"]) >= -1e-9).all())
    return _judged(found, rises, "the density along the path rises with every step of lam")


def connected(tables: Tables, _: Numbers) -> Outcome:
    """Graphs in one piece and in several."""
    table = tables[0].sort_values("epsilon")
    found = "; ".join(f"epsilon {row.epsilon:.2f}: {row.components} pieces" for row in table.itertuples())
    holds = bool((table["components"].iloc[0] > 1) and (table["components"].iloc[-1] == 1))
    return _judged(f"{found}.", holds, "several pieces at the least epsilon, one at the largest")


def convergence(tables: Tables, _: Numbers) -> Outcome:
    """Rates of graph lengths against theory."""
    table = tables[0]
    words = [f"{row.curve} {row.slope:.2f} (theory {row.theory:.2f})" for row in table.itertuples()]
    falls = bool((table["slope"] < 0).all())
    near = bool((np.abs(table["slope"] - table["theory"]) <= 3 * table["slope_error"]).all())
    rule = "every error falls, at the rate of theory within three standard errors; in part if it falls"
    return _judged(f"Slopes: {'; '.join(words)}.", falls and near, rule, partly=falls)


def affinity(tables: Tables, _: Numbers) -> Outcome:
    """Whether geodesic affinity keeps to a cluster."""
    table = tables[0]
    words = [f"{row.toy} {row.euclidean_auc:.2f} and {row.geodesic_auc:.2f}" for row in table.itertuples()]
    better = (table["geodesic_auc"] >= table["euclidean_auc"]).to_numpy()
    found = f"Pairs ordered rightly, Euclidean and geodesic: {'; '.join(words)}."
    return _judged(
        found, bool(better.all()), "at least as many on every set", partly=bool(better.mean() > 0.5)
    )


def clusters(tables: Tables, _: Numbers) -> Outcome:
    """Clusters by both distances."""
    best = tables[0].groupby(["dataset", "distance"])["ari"].max().unstack()
    geodesic = best.drop(columns="Euclidean").max(axis=1)
    found = (
        f"Adjusted Rand index, best method on average over {len(best)} sets: Euclidean "
        f"{best['Euclidean'].mean():.2f}, geodesic {geodesic.mean():.2f}."
    )
    better = (geodesic >= best["Euclidean"] - 1e-9).to_numpy()
    rule = "geodesic distances do at least as well on every set; in part on most"
    return _judged(found, bool(better.all()), rule, partly=bool(better.mean() > 0.5))


def pictures(tables: Tables, _: Numbers) -> Outcome:
    """Pictures by both distances, judged by the class of neighbours."""
    table = tables[0].set_index("picture")["neighbour_accuracy"]
    euclidean = table[table.index.str.contains("Euclid", case=False)]
    geodesic = table[~table.index.str.contains("Euclid", case=False)]
    found = "Neighbours of the same class: " + ", ".join(
        f"{name} {value:.2f}" for name, value in table.items()
    )
    if euclidean.empty or geodesic.empty:
        return Outcome(f"{found}.", UNRESOLVED, "needs pictures by both distances")
    return _judged(
        f"{found}.", geodesic.max() >= euclidean.max(), "the best geodesic picture has at least as many"
    )


def likelier(tables: Tables, _: Numbers) -> Outcome:
    """Whether images along geodesics are likelier than along lines."""
    means = tables[0].groupby("path")[["mean_log_prob", "mean_model_log_prob"]].mean()
    names = list(map(str, means.index))
    words = [
        f"{name} {row['mean_log_prob']:.1f} and {row['mean_model_log_prob']:.1f}"
        for name, (_, row) in zip(names, means.iterrows(), strict=True)
    ]
    found = (
        f"Mean log likelihood along the path, by the density and by the diffusion model: {'; '.join(words)}."
    )
    line = means[[("linear" in name or "straight" in name or "Euclid" in name) for name in names]]
    other = means.drop(line.index)
    if line.empty or other.empty:
        return Outcome(found, UNRESOLVED, "needs geodesics and lines")
    gain = (other.max() - line.max()).to_numpy()
    return _judged(
        found, bool((gain > 0).all()), "higher by both models; in part by one", partly=bool((gain > 0).any())
    )
