"""Cost of the posterior moments against the bare products and exponentials that they contain.

Both sides run over the same row blocks and column tiles on the same number of threads. Repeats alternate, and
the median of the ratios of neighbouring repeats is reported, because other load on the machine moves single
times by more than the difference. The ratio is given of wall times and of processor times; the second is the
steadier where other work shares the cores. Memory is the most that a fresh process holds above its inputs. Run
from the repository::

    python benchmarks/posterior_moments.py --sizes 5000 10000 20000 --threads 2 --csv moments.csv
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import resource
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import dask
import numpy as np
import pandas as pd
from record import Row, record, record_table
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from hessgeo.posteriors import Posterior, posterior
from hessgeo.posteriors.distance import block_rows
from hessgeo.posteriors.factors import COLUMNS


def synthetic_samples(n: int, dimension: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scattered parameters and a smooth unit-norm embedding of them (random Fourier features)."""
    rng = np.random.default_rng(seed)
    t = rng.uniform(-1, 2, (n, 2))
    frequency, phase = rng.normal(size=(2, dimension)), rng.uniform(0, 2 * np.pi, dimension)
    embedding = np.cos(t @ frequency + phase)
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype(np.float32), t


def bare_products(embedding: np.ndarray, rows: int, threads: int) -> None:
    """The float32 product and exponential of every pair, tile by tile, and nothing else."""
    n = len(embedding)

    def block(start: int) -> None:
        source = embedding[start : start + rows]
        tile = np.empty((len(source), COLUMNS), np.float32)
        for column in range(0, n, COLUMNS):
            target = embedding[column : column + COLUMNS]
            part = tile[:, : len(target)]
            np.matmul(source, target.T, out=part)
            np.exp(part, out=part)

    tasks = [dask.delayed(block, pure=False)(start) for start in range(0, n, rows)]
    with threadpool_limits(limits=1, user_api="blas"):
        dask.compute(*tasks, scheduler="threads", num_workers=threads)


def seconds(function: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time (of all threads) of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return time.perf_counter() - wall, time.process_time() - processor


def resident_mib() -> float:
    """Memory that this process holds now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def peak_extra_mib(n: int, options: argparse.Namespace) -> float:
    """Most memory held at once by the moments above what their inputs take, sampled every 5 ms."""
    embedding, t = synthetic_samples(n, options.dimension, options.seed)
    # Freed temporaries that the allocator keeps would be used again and hide as much of what is measured.
    ctypes.CDLL(None).malloc_trim(0)
    before, peak, done = resident_mib(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak.append(resident_mib())

    watcher = threading.Thread(target=watch)
    watcher.start()
    moments(embedding, t, options)
    done.set()
    watcher.join()
    return max(peak) - before


def moments(embedding: np.ndarray, t: np.ndarray, options: argparse.Namespace) -> Posterior:
    return posterior(
        embedding,
        t,
        resolution=options.resolution,
        exclude_self=options.exclude_self,
        threads=options.threads,
        memory_mb=options.memory_mb,
    )


def measure(n: int, options: argparse.Namespace) -> dict[str, float]:
    """Times of both sides, the ratio of neighbouring repeats, and memory, at one size."""
    embedding, t = synthetic_samples(n, options.dimension, options.seed)
    rows = block_rows(n, memory_mb=options.memory_mb)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as fresh:
        memory = fresh.submit(peak_extra_mib, n, options).result()
    bare, full = [], []
    for _ in tqdm(range(options.repeats), desc=f"n = {n}", leave=False):
        bare.append(seconds(lambda: bare_products(embedding, rows, options.threads)))
        full.append(seconds(lambda: moments(embedding, t, options)))
    ratio, processor_ratio = (np.array(full) / np.array(bare)).T
    return {
        "n": n, "dimension": options.dimension, "threads": options.threads, "rows": rows,
        "bare_s": np.median(bare, axis=0)[0], "moments_s": np.median(full, axis=0)[0],
        "ratio": np.median(ratio), "ratio_low": ratio.min(), "ratio_high": ratio.max(),
        "processor_ratio": np.median(processor_ratio), "peak_extra_mib": memory,
        "bare_runs": [wall for wall, _ in bare], "moments_runs": [wall for wall, _ in full],
        "ratio_runs": ratio.tolist(),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> pd.DataFrame:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sizes", type=int, nargs="+", default=[5000, 10000, 20000], help="numbers of samples"
    )
    parser.add_argument("--dimension", type=int, default=512, help="embedding dimension")
    parser.add_argument("--repeats", type=int, default=5, help="repeats of each side")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-mb", type=float, default=256, help="bound on the row buffers")
    parser.add_argument("--resolution", type=float, default=1000.0, help="resolution number N")
    parser.add_argument(
        "--exclude-self", action="store_true", help="leave each sample out of its own posterior"
    )
    parser.add_argument(
        "--project", type=int, default=60000, help="size to which the fitted curve is continued"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--csv", type=Path, help="where to write the table")
    options = parser.parse_args(arguments)
    table = pd.DataFrame([measure(n, options) for n in options.sizes])
    print(
        table.drop(columns=["bare_runs", "moments_runs", "ratio_runs"]).to_string(
            index=False, float_format=lambda value: f"{value:.3g}"
        )
    )
    if len(options.sizes) > 1:
        exponent, offset = np.polyfit(np.log(table["n"]), np.log(table["moments_s"]), 1)
        projected = np.exp(offset + exponent * np.log(options.project))
        print(f"seconds ~ n^{exponent:.2f}; {projected:.0f} s projected at n = {options.project}")
        whole = f"posterior moments by blocks, dimension {options.dimension}, threads {options.threads}"
        record(
            [
                Row(f"{whole}: power of n in their time", exponent),
                Row(f"{whole}: projected to n {options.project}", projected, "s"),
            ]
        )
    units = {"bare_s": "s", "moments_s": "s", "peak_extra_mib": "MiB"}
    # Every repeat, of which the row says the spread.
    runs = table.assign(
        bare_s=table.pop("bare_runs"), moments_s=table.pop("moments_runs"), ratio=table.pop("ratio_runs")
    )
    runs = runs.drop(columns=["ratio_low", "ratio_high"])
    record_table("posterior moments by blocks", runs, labels=["n", "dimension", "threads"], units=units)
    if options.csv:
        table.to_csv(options.csv, index=False)
    return table


if __name__ == "__main__":
    main()
