"""Which phases of a study are real: replicates, other extractors, resolutions and grids, and what labels say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, UInt8

from hessgeo.evaluation.boundary_fates import LineFate, line_fates
from hessgeo.grids import Grid
from hessgeo.phases.agreement import RELATED, STABLE, UNRELATED, Agreement, adjusted_rand, agreements
from hessgeo.phases.recurrence import NOT_TOLD, REAL, Recurrence, edge_places, edges_found, recurrence
from hessgeo.pipeline.stability_maps import (
    Labels,
    extractor_features,
    measured_phases,
    replicate_phases,
    resolved_phases,
    thinned_phases,
)

FIT, OWN = "fit", "embedding"


def study_stability(
    label: Labels,
    embedding: Float[np.ndarray, "n d"],
    images: UInt8[np.ndarray, "n h w c"],
    grid: Grid,
    resolution: float,
    settings: Mapping[str, Any],
    *,
    seed: int,
    classifier: str | None = None,
    scan: Mapping[str, Any] | None = None,
    threads: int = 1,
) -> tuple[pd.DataFrame, dict[str, Any], dict[str, Any]]:
    """How often each phase and boundary of a study is found again, and how far its map agrees with others.

    Replicates and the maps beside the fit's take the metric measured from embeddings: refitting the free energy a
    hundred times is not worth its days, and the pair of ``fit`` and ``embedding`` says what that leaves out.

    Args:
        label: the study's phases, from its fit.
        embedding: of every node, in their order.
        images: of every node.
        grid: the nodes.
        resolution: ``N`` of the study.
        settings: ``stability``, ``phases`` and the ``kernel`` of the study.
        seed: of the replicates.
        classifier: folder of the digit classifier, where the images are digits.
        scan: ``N`` and ``boundaries``, how the study's boundaries grow with it, see ``scan_resolution``.
        threads: threads that work at once.

    Returns:
        A row for every two maps, see ``phases.agreement.Agreement``; what is found again; and what is reported.
    """
    chosen, phases = settings["stability"], settings["phases"]
    features = extractor_features(chosen["embeddings"], embedding, images, classifier)
    maps, drawn = {FIT: label}, {}
    for name, rows in features.items():
        maps[name] = measured_phases(rows.reshape(*grid.shape, -1), grid, phases)
        drawn[name] = replicate_phases(rows, grid, phases, count=chosen["replicates"], seed=seed)
    extractors = list(features)
    for factor in chosen["factors"]:
        number = (embedding, grid, factor * resolution, settings["kernel"], phases)
        maps[f"{factor:g} N"] = resolved_phases(*number, threads=threads)
    for stride in chosen["strides"]:
        maps[f"grid / {stride}"] = thinned_phases(features[OWN], grid, stride, phases)
    pairs = agreements(maps, drawn, confidence=chosen["confidence"])
    again = recurrence(label, drawn[OWN], confidence=chosen["confidence"])
    told = {
        "replicates": chosen["replicates"],
        "confidence": chosen["confidence"],
        "counts": {name: int(found.max()) for name, found in maps.items()},
        "resolutions": [] if scan is None else scan["N"],
        **_found_again(label, again, [] if scan is None else scan["boundaries"], grid),
        "extractors": extractor_verdict(pairs, extractors, maps),
        "exact": [exact_fate(fate) for fate in line_fates()],
    }
    if classifier is not None:
        told["classifier"] = label_agreement(
            label, drawn[OWN], embedding, images, classifier, chosen["confidence"]
        )
    numbers = {key: value for key, value in told.items() if key != "edges"}
    table = pd.DataFrame([asdict(pair) for pair in pairs])
    numbers["agreement_with_fit"] = {row.second: row.value for row in pairs if row.first == FIT}
    return table, told, numbers


def _found_again(
    label: Labels, again: Recurrence, growth: Sequence[Mapping[str, Any]], grid: Grid
) -> dict[str, Any]:
    """Phases, boundaries with their fates, and edges in parameters, as they are written."""
    fates = {tuple(entry["phases"]): entry for entry in growth}
    lines = []
    for pair, often in again.boundaries.items():
        fate = fates.get(pair, {})
        lines.append(
            {
                "phases": list(pair),
                **asdict(often),
                "fate": fate.get("verdict"),
                "strengths": fate.get("strengths"),
            }
        )
    areas = np.bincount(label.ravel(), minlength=label.max() + 1) / label.size
    return {
        "phases": [
            {"label": name, "area": float(areas[name]), **asdict(often)}
            for name, often in again.phases.items()
        ],
        "boundaries": lines,
        "edges": [
            [*ends, float(share)] for ends, share in zip(_segments(label, grid), again.edges, strict=True)
        ],
        "real": {
            "phases": sum(often.verdict == REAL for often in again.phases.values()),
            "boundaries": sum(often.verdict == REAL for often in again.boundaries.values()),
            "doubtful": [list(pair) for pair, often in again.boundaries.items() if often.verdict == NOT_TOLD],
        },
    }


def _segments(label: Labels, grid: Grid) -> list[list[float]]:
    """Ends ``(a, b, a, b)`` of the piece of boundary between each two unlike neighbours."""
    places, _ = edge_places(label)
    along = (places % 2 == 1).argmax(axis=1)  # the axis along which the two nodes are neighbours
    reach = np.where(np.arange(2) == along[:, None], 0.0, 0.5)
    origin, step = np.array(grid.extent)[:, 0], np.array(grid.spacing)
    ends = [origin + step * (places / 2 + sign * reach) for sign in (-1, 1)]
    return np.concatenate(ends, axis=1).tolist()


def extractor_verdict(
    pairs: Sequence[Agreement], names: Sequence[str], maps: Mapping[str, Labels]
) -> dict[str, Any]:
    """The test of the claim that boundaries are stable across extractors.

    Held: every two extractors agree as one map, that is as well as replicates of one of them do. Refuted: some two
    agree no better than chance. In between they are alike, but not as one map.

    Args:
        pairs: agreements of every two maps.
        names: the maps that are extractors.
        maps: all of them.
    """
    own = [pair for pair in pairs if pair.first in names and pair.second in names]
    if not own:
        return {"verdict": "not tested: one extractor", "pairs": 0}
    edges = [
        edges_found(maps[one], maps[other])
        for pair in combinations(names, 2)
        for one, other in (pair, pair[::-1])
    ]
    words = {pair.verdict for pair in own}
    verdict = next(
        text
        for word, text in (
            (UNRELATED, "refuted: some two extractors agree no better than chance"),
            (RELATED, "not as said: alike beyond chance, but not as one map"),
            (STABLE, "held: as one map"),
        )
        if word in words
    )
    return {
        "verdict": verdict,
        "pairs": len(own),
        "least": min(pair.value for pair in own),
        "greatest": max(pair.value for pair in own),
        "chance": max(pair.chance for pair in own),
        "replicates": min(pair.own for pair in own),
        "edges_least": min(share for share, _ in edges),
        "edges_chance": max(chance for _, chance in edges),
    }


def exact_fate(fate: LineFate) -> dict[str, Any]:
    """The line h = 0 of an exact system as it is written: the test of fates on what is known."""
    return {
        "system": fate.system,
        "couplings": [coupling / fate.critical for coupling in fate.couplings],
        "rates": fate.rates.tolist(),
        "verdicts": list(fate.verdicts),
        "spins": list(fate.spins),
        "crossover_up_to": fate.crossover_up_to / fate.critical,
        "transition_from": fate.transition_from / fate.critical,
        "wrong": fate.wrong,
    }


def label_agreement(
    label: Labels,
    replicates: Sequence[Labels],
    embedding: Float[np.ndarray, "n d"],
    images: UInt8[np.ndarray, "n h w c"],
    classifier: str,
    confidence: float,
) -> dict[str, float]:
    """How far phases agree with the classes that a classifier reads off the images, and how far they could.

    The ``ceiling`` is what the embedding itself can tell of these classes: each node is given the class whose mean is
    nearest, means of the other half of the nodes in a checkerboard. It knows the classes, which phases do not.
    """
    from hessgeo.models.digit_classifier import load_classifier, recognise

    classes = recognise(load_classifier(classifier), images)[0].reshape(label.shape)
    spread = [adjusted_rand(classes, other) for other in replicates]
    low, high = np.quantile(spread, [(1 - confidence) / 2, (1 + confidence) / 2])
    return {
        "adjusted_rand": adjusted_rand(classes, label),
        "replicates_low": float(low),
        "replicates_high": float(high),
        "ceiling": adjusted_rand(classes, nearest_class(embedding, classes)),
        "classes": len(np.unique(classes)),
    }


def nearest_class(
    embedding: Float[np.ndarray, "n d"], classes: Int[np.ndarray, "*nodes"]
) -> Int[np.ndarray, "*nodes"]:
    """The class whose mean embedding is nearest, of each colour of a checkerboard by the means of the other."""
    colour = (np.indices(classes.shape).sum(axis=0) % 2).ravel()
    flat, found = classes.ravel(), np.empty(classes.size, dtype=int)
    for side in (0, 1):
        known, names = colour != side, np.unique(flat[colour != side])
        means = np.stack([embedding[known & (flat == name)].mean(axis=0, dtype=float) for name in names])
        squares = (means**2).sum(axis=1) - 2 * embedding[colour == side] @ means.T
        found[colour == side] = names[squares.argmin(axis=1)]
    return found.reshape(classes.shape)
