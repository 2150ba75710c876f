"""The largest step of a morph in features: along geodesics, straight and spherical lines, over pairs across a boundary.

    python benchmarks/morphs.py STUDY MODELS [--pairs 100] [--frames 16] [--paced 100] [--keep FILE.csv]

STUDY is a finished study of digits, MODELS the folder of its models. Each way has the same number of frames between the
same two points, and its score is its largest step in the embedding over that of the straight line, the mean over pairs
with a bootstrap interval. Beside it stands what is the least for any way over neighbouring nodes of the study's grid.
Ways that are paced by features look at many more images, and are measured on the first ``--paced`` pairs alone. With
``--keep`` pairs are written as they are measured, and those that the file has are not measured again. Every number goes
into ``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from record import Row, record

import hessgeo as hg
from hessgeo.evaluation.morphs import Floors, Frames, frames_at, looked_along, stops
from hessgeo.evaluation.path_scores import draw_pairs, paired_difference, within_one_phase
from hessgeo.features import load_embedding
from hessgeo.geodesics.curves import Curves, subdivided
from hessgeo.geodesics.lines import spherical_lines, straight_lines
from hessgeo.pipeline.loading import latent_plane, load_system

TRACK = 721  # points between which a way is straight where it is looked at
BLOCK = 5  # pairs at once
KIND = "largest step in the embedding"
WORDS = {
    "spherical": "spherical line",
    "fisher": "Fisher geodesic, equal Fisher steps",
    "straight, fisher pace": "straight line, equal Fisher steps",
    "embedding": "geodesic of the embedding's metric, equal steps in it",
    "fisher, features pace": "Fisher geodesic, paced by features",
    "straight, features pace": "straight line, paced by features",
    "minimax": "minimax way over nodes, paced by features",
}


def models_of(study, folder):
    """The system of a study of digits, its embedding and its plane."""
    known = json.loads(Path(study.parts.samples, "zarr.json").read_text())["attributes"]["settings"]
    own = {key: value for key, value in known["system"].items() if key != "training"}
    system = {**study.settings["system"], **own, "checkpoint": f"{folder}/diffusion", "batch_size": 16}
    plane = {**study.settings["slice"], **known["slice"]}
    sampler = load_system(system, system["checkpoint"], study.anchors, plane, device="cpu", most=1024)
    settings = {**study.settings["embedding"], "checkpoint": f"{folder}/clip", "dtype": "float32"}
    embedding = load_embedding(settings, settings["checkpoint"], (8, 8, 1), device="cpu")
    return sampler, embedding, latent_plane(study.anchors, plane), known["seed"]


def look(points, *, sampler, embedding, seed):
    images = sampler.sample(points, np.zeros(len(points), dtype=int), seed)
    return images, embedding(images)


def ways(study, plane, floors, see, starts, ends, frames, paced):
    """The frames of every way of each pair, and what is known of it; paced by features where that is asked for."""
    pairs = np.stack([starts, ends], axis=1)
    line = Curves.polyline(subdivided(torch.from_numpy(pairs), study.grid.spacing))
    tracks, evenly, certified = {"straight": straight_lines(starts, ends, TRACK)}, {}, {}
    evenly["linear"] = straight_lines(starts, ends, frames)
    evenly["spherical"] = spherical_lines(starts, ends, plane, frames)
    for name in ("fisher", "embedding"):
        paths = study.geodesics(pairs, name)
        evenly[name], certified[name] = paths.equidistant(frames).numpy(), paths.certified.numpy()
        if name == "fisher":
            tracks[name] = paths.equidistant(TRACK).numpy()
            evenly["straight, fisher pace"] = line.at(line.equidistant(paths.metric, frames)).numpy()
    # All at once, for a batch that is not full costs as much.
    seen = frames_at(np.concatenate([points.reshape(-1, 2) for points in evenly.values()]), see)
    rows = np.arange(len(seen.points)).reshape(len(evenly), len(starts), frames)
    for pair in range(len(starts)):
        made = {name: seen.rows(rows[way, pair]) for way, name in enumerate(evenly)}
        for name, track in tracks.items() if paced[pair] else ():
            made[f"{name}, features pace"] = stops(looked_along(track[pair], frames - 1, see), frames - 1)
        floor = floors.between(starts[pair], ends[pair])
        nodes = study.grid.points[floor.nodes]
        over = Frames(nodes, np.zeros((len(nodes), 1, 1, 1), np.uint8), floors.features[floor.nodes])
        made["minimax"] = stops(over, min(frames, len(nodes)) - 1)
        sure = {name: bool(found[pair]) for name, found in certified.items()}
        yield made, sure, floor


def measure(study, models, pairs, frames, seed, keep, paced):
    sampler, embedding, plane, own = models
    floors = Floors(np.asarray(study.embedding), study.grid)
    see = partial(look, sampler=sampler, embedding=embedding, seed=own)
    starts, ends = draw_pairs(study.grid, 5 * pairs, seed=seed)
    label = study.parts.phases["label"].to_numpy()
    across = np.flatnonzero(~within_one_phase(label, study.grid, starts, ends))[:pairs]
    done = pd.read_csv(keep) if keep and Path(keep).exists() else pd.DataFrame({"pair": []})
    rows = done.to_dict("records")
    left = across[~np.isin(across, done["pair"])]
    for first in range(0, len(left), BLOCK):
        block, began = left[first : first + BLOCK], time.perf_counter()
        some = np.isin(block, across[:paced])
        found = ways(study, plane, floors, see, starts[block], ends[block], frames, some)
        for pair, (made, sure, floor) in zip(block, found, strict=True):
            about = {"pair": int(pair), "floor": floor.longest, "whole": floor.whole, **sure}
            for name, one in made.items():
                rows.append({**about, "way": name, "largest": one.steps.max(), "total": one.steps.sum()})
        if keep:
            pd.DataFrame(rows).to_csv(keep, index=False)
        print(f"{len({row['pair'] for row in rows})} pairs, {time.perf_counter() - began:.0f} s", flush=True)
    return pd.DataFrame(rows)


def judged(table, frames):
    """A row of the table of benchmarks for each way."""
    largest = table.pivot_table(index="pair", columns="way", values="largest")
    for way, words in WORDS.items():
        for other in ("linear", "spherical"):
            if way == other or way not in largest:
                continue
            ratio = (largest[way] / largest[other]).dropna().to_numpy()
            found = paired_difference(ratio, np.zeros_like(ratio), method="bootstrap")
            said = f"{found.mean:.3f} [{found.low:.3f}, {found.high:.3f}], median {np.median(ratio):.3f}"
            few = f"{np.mean(ratio <= 0.7):.0%} at most .7"
            print(f"{words}, over the {other} ({len(ratio)} pairs): {said}, {few}")
            base = f"morphs, digits, {len(ratio)} pairs across a boundary, {frames} frames: {KIND}"
            for part, value in (("mean", found.mean), ("low", found.low), ("high", found.high)):
                yield Row(f"{base}, {words} over the {other} line's, {part}", value)
    floor = table.groupby("pair")["floor"].first()
    share = (floor / largest["linear"]).to_numpy()
    found = paired_difference(share, np.zeros_like(share), method="bootstrap")
    print(
        f"floor over neighbouring nodes, over the linear: {found.mean:.3f} [{found.low:.3f}, {found.high:.3f}]"
    )
    base = f"morphs, digits, {len(share)} pairs across a boundary, {frames} frames: {KIND}"
    yield Row(f"{base}, least of any way over neighbouring nodes over the linear line's, mean", found.mean)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("study")
    parser.add_argument("models")
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--paced", type=int, default=100)
    parser.add_argument("--keep")
    given = parser.parse_args()
    study = hg.open(given.study)
    models = models_of(study, given.models)
    table = measure(study, models, given.pairs, given.frames, given.seed, given.keep, given.paced)
    record(judged(table, given.frames))


if __name__ == "__main__":
    main()
