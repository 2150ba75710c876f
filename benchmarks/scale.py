"""How the stages of a study grow with the number of its samples: time, memory, and what a large one takes for real.

    python benchmarks/scale.py memory      # peak memory of a job that reduces rows of a posterior, 20,000 to 200,000
    python benchmarks/scale.py fit         # peak memory of a dual fit to 20,000 to 200,000 posteriors
    python benchmarks/scale.py ratio       # rows of 60,000 x 512 beside their bare products and exponentials
    python benchmarks/scale.py growth      # seconds of posterior and fit over n, of metric and phases over nodes
    python benchmarks/scale.py large       # 200,000 embeddings by neighbours, all of it, and some rows of all pairs
    python benchmarks/scale.py dag         # files, jobs and start-up of 10^5 and 10^6 samples, simulated

Times are of the processor, which on a busy machine are the steadier; each number goes into ``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from posterior_moments import synthetic_samples
from record import Row, record
from scheduler_simulation import Study, simulate
from threadpoolctl import threadpool_limits

from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.free_energies.dual import fit_dual
from hessgeo.grids import Grid
from hessgeo.phases import segment_phases
from hessgeo.pipeline.chain import metric_fields
from hessgeo.posteriors import choose_resolution, neighbour_posterior, posterior
from hessgeo.posteriors.distance import distance_rows
from hessgeo.posteriors.strips import reduced_strips

DIMENSION = 512


class FileRows:
    """Embeddings in a file, read in slices and never mapped, as a store reads them."""

    def __init__(self, file: Path, n: int, dimension: int) -> None:
        self.file, self.shape = file, (n, dimension)

    def __getitem__(self, rows: slice) -> np.ndarray:
        start, stop, _ = rows.indices(self.shape[0])
        width = self.shape[1]
        part = np.fromfile(self.file, np.float32, (stop - start) * width, offset=4 * start * width)
        return part.reshape(-1, width)


def write_embedding(file: Path, n: int, dimension: int = DIMENSION) -> tuple[FileRows, np.ndarray]:
    """A smooth embedding of scattered parameters in a file, made in parts."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-1, 2, (n, 2))
    frequency, phase = rng.normal(size=(2, dimension)), rng.uniform(0, 2 * np.pi, dimension)
    with file.open("wb") as stream:
        for part in np.array_split(t, max(1, n // 4096)):
            rows = np.cos(part @ frequency + phase)
            (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32).tofile(stream)
    return FileRows(file, n, dimension), t


def seconds(work: Callable[[], object]) -> float:
    """Processor time of a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def row_job_peak(n: int, memory_mb: float) -> float:
    """Peak resident memory, MiB, of a process that reduces the rows of the first of many strips."""
    with tempfile.TemporaryDirectory() as folder, threadpool_limits(1):
        embedding, t = write_embedding(Path(folder, "embedding.f4"), n)
        settings = {"kernel": "gaussian", "resolution": 1000.0, "memory_mb": memory_mb}
        problem = distance_rows(embedding, t, **settings, file=Path(folder, "factors.f4"))
        list(reduced_strips(problem, [0]))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def fit_peak(n: int, side: int) -> float:
    """Peak resident memory, MiB, of a process that takes two steps of a dual fit to the posteriors of all samples."""
    with tempfile.TemporaryDirectory() as folder:
        embedding, t = write_embedding(Path(folder, "embedding.f4"), n, 16)
        data = neighbour_posterior(embedding, t, resolution=200.0)
    fit_dual(data, Grid(((-1.0, 2.0), (-1.0, 2.0)), (side, side)), tolerance=1e-6, max_iterations=2)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def peaks(
    args: argparse.Namespace, name: str, measure: Callable[[int, float], float], option: float
) -> list[Row]:
    """Peak memory of a process of its own for each number of samples."""
    found = []
    for n in args.sizes or (20_000, 60_000, 200_000):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
            found.append((n, fresh.submit(measure, n, option).result()))
    rows = [Row(f"scale, {name}, {n} samples: peak memory", peak, "MiB") for n, peak in found]
    most, least = (choice(peak for _, peak in found) for choice in (max, min))
    return [*rows, Row(f"scale, {name}: largest peak over smallest", most / least)]


def memory(args: argparse.Namespace) -> list[Row]:
    return peaks(args, "rows of a posterior", row_job_peak, 256.0)


def fit(args: argparse.Namespace) -> list[Row]:
    return peaks(args, "dual fit on 32 x 32 nodes", fit_peak, 32)


def ratio(args: argparse.Namespace) -> list[Row]:
    """A sample of row blocks on both sides, in turns."""
    n = 60_000
    embedding, t = synthetic_samples(n, DIMENSION, 0)
    problem = distance_rows(embedding, t, kernel="gaussian", resolution=1000.0)
    blocks = np.linspace(0, problem.blocks - 2, args.blocks).astype(int).tolist()
    ours, bare = [], []
    with threadpool_limits(1):
        problem.reduce(0)
        for block in blocks:
            ours.append(seconds(lambda k=block: problem.reduce(k)))
            bare.append(seconds(lambda k=block: bare_rows(embedding, k * problem.rows, problem.rows)))
    over = np.array(ours) / np.array(bare)
    name = f"scale, rows of a posterior, {n} x {DIMENSION}"
    return [
        Row(f"{name}: processor time of a sample of rows, all rows by their number",
            float(np.mean(ours)) * problem.blocks, "s", "bare products and exponentials",
            float(np.mean(bare)) * problem.blocks),
        Row(f"{name}: over bare products and exponentials, median", float(np.median(over))),
        Row(f"{name}: over bare products and exponentials, largest of {len(over)}", float(over.max())),
    ]  # fmt: skip


def bare_rows(embedding: np.ndarray, start: int, rows: int) -> None:
    """Products and exponentials of a block of rows with all samples, and nothing else."""
    source = embedding[start : start + rows]
    tile = np.empty((len(source), 512), np.float32)
    for column in range(0, len(embedding), 512):
        target = embedding[column : column + 512]
        part = tile[:, : len(target)]
        np.matmul(source, target.T, out=part)
        np.exp(part, out=part)


def exponent(sizes: list[int], times: list[float]) -> float:
    """Of a power law through times."""
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def growth(args: argparse.Namespace) -> list[Row]:
    rows = []

    def told(stage: str, sizes: list[int], times: list[float], what: str) -> None:
        for size, time_ in zip(sizes, times, strict=True):
            rows.append(Row(f"scale, {stage}, {size} {what}: processor time", time_, "s"))
        rows.append(Row(f"scale, {stage}: exponent of its growth with {what}", exponent(sizes, times)))

    with threadpool_limits(1):
        sizes, pairs, near, fits = [2048, 4096, 8192, 16384], [], [], []
        for n in sizes:
            embedding, t = synthetic_samples(n, DIMENSION, 0)
            resolution = choose_resolution(
                embedding, t, kernel="gaussian", cells=17, quantile=0.1, sources=32, seed=0
            )
            options = {"resolution": resolution}
            pairs.append(seconds(lambda e=embedding, t=t, o=options: posterior(e, t, **o)))
            near.append(seconds(lambda e=embedding, t=t, o=options: neighbour_posterior(e, t, **o)))
        told("posterior of all pairs", sizes, pairs, "samples")
        told("posterior by neighbours", sizes, near, "samples")
        grid = Grid(((-1.0, 2.0), (-1.0, 2.0)), (32, 32))
        for n in sizes[:3]:
            embedding, t = synthetic_samples(n, 16, 0)
            data = posterior(embedding, t, resolution=200.0)
            fits.append(seconds(lambda d=data: fit_dual(d, grid, tolerance=1e-6, max_iterations=30)))
        told("dual fit on 32 x 32 nodes", sizes[:3], fits, "samples")
        metrics, phases, sides = [], [], [64, 128, 256, 512]
        settings = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}
        embedding, t = synthetic_samples(1024, 16, 0)
        fitted = fit_dual(posterior(embedding, t, resolution=200.0), grid, tolerance=1e-6, max_iterations=30)
        for side in sides:
            finer = Grid(grid.extent, (side, side))
            fields = free_energy_dataset(fitted, finer, attributes={})
            metrics.append(seconds(lambda f=fields: metric_fields(f)))
            height = metric_fields(fields)["largest_eigenvalue"].to_numpy()
            phases.append(seconds(lambda h=height, g=finer: segment_phases(h, g, **settings)))
        told("metric", [side**2 for side in sides], metrics, "nodes")
        told("phases", [side**2 for side in sides], phases, "nodes")
    return rows


def large(args: argparse.Namespace) -> list[Row]:
    """200,000 embeddings through the library's own route: resolution, neighbours whole, a strip of all pairs."""
    n = args.samples
    with tempfile.TemporaryDirectory() as folder:
        embedding, t = write_embedding(Path(folder, "embedding.f4"), n)
        times, start = {}, time.perf_counter()
        resolution = []
        choice = {"kernel": "gaussian", "cells": 17, "quantile": 0.1, "sources": 64, "seed": 0}
        times["choice of the resolution"] = seconds(
            lambda: resolution.append(choose_resolution(embedding, t, **choice))
        )
        found = []
        times["neighbours"] = seconds(
            lambda: found.append(
                neighbour_posterior(
                    embedding,
                    t,
                    resolution=resolution[0],
                    threads=2,
                    file=Path(folder, "sorted.f4"),
                    progress=True,
                )
            )
        )
        wall = time.perf_counter() - start
        options = {"kernel": "gaussian", "resolution": resolution[0], "memory_mb": 1024.0}
        problem = distance_rows(embedding, t, **options, file=Path(folder, "factors.f4"))
        blocks = [0, problem.blocks // 2]
        sums = []
        with threadpool_limits(1):
            pairs = seconds(lambda: sums.extend(problem.reduce(block) for block in blocks))
        near = found[0]
        off = max(float(np.abs(one.values["entropy"] - near.entropy[one.sources]).max()) for one in sums)
    name = f"scale, {n} x {DIMENSION}"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return [
        *(Row(f"{name}: {what}, processor time", value, "s") for what, value in times.items()),
        Row(f"{name}: resolution and neighbours, wall time on a busy machine", wall, "s"),
        Row(f"{name}: share of pairs that neighbours sum", float(near.seen.mean()) / n),
        Row(f"{name}: bound of the mass left out", float(near.missing.max())),
        Row(f"{name}: difference of entropies from rows of all pairs, largest", off, "nats"),
        Row(f"{name}: all pairs, processor time, from {len(blocks)} of {problem.blocks} blocks",
            pairs / len(blocks) * problem.blocks, "s"),
        Row(f"{name}: peak memory", peak, "MiB"),
    ]  # fmt: skip


def dag(args: argparse.Namespace) -> list[Row]:
    """What stores and plans of more samples hold, by the layout's own counts."""
    rows = []
    for samples in (10**5, 10**6):
        for shard in (1024, 10_000):
            study = Study(samples, shard)
            name = f"scale, {samples} samples in shards of {shard}"
            rows += [Row(f"{name}: jobs", study.jobs), Row(f"{name}: files", study.files)]
    for shards, nodes in ((10**3, 100), (10**5, 100), (10**5, 1000)):
        for grouped in (1, 100):
            found = simulate(
                shards, nodes, work=args.work, submit=args.submit, start=args.start, grouped=grouped
            )
            name = f"scale, {shards} shards on {nodes} nodes, {grouped} a job"
            rows += [
                Row(f"{name}: simulated hours", found.seconds / 3600, "h"),
                Row(f"{name}: simulated share of node time at work", found.share),
            ]
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    stages = {"memory": memory, "fit": fit, "ratio": ratio, "growth": growth, "large": large, "dag": dag}
    parser.add_argument("stages", nargs="*", metavar="stage", help=f"of {', '.join(stages)}; all")
    parser.add_argument("--sizes", type=int, nargs="+", help="samples, of memory")
    parser.add_argument("--samples", type=int, default=200_000, help="of large")
    parser.add_argument("--blocks", type=int, default=12, help="row blocks, of ratio")
    parser.add_argument("--work", type=float, default=60.0, help="seconds of a shard, of dag")
    parser.add_argument("--submit", type=float, default=0.1, help="seconds of Snakemake for a job, of dag")
    parser.add_argument("--start", type=float, default=5.0, help="seconds in which a job starts up, of dag")
    args = parser.parse_args()
    if unknown := set(args.stages) - set(stages):
        parser.error(f"there is no stage {', '.join(unknown)}")
    for stage in args.stages or stages:
        for row in (rows := stages[stage](args)):
            print(f"{row.name}: {row.value:.6g} {row.unit}", flush=True)
        record(rows)


if __name__ == "__main__":
    main()
