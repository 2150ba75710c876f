"""Speed, memory and equilibration of the samplers of solvable systems, on one core, compilation not counted.

    python benchmarks/samplers.py                # all
    python benchmarks/samplers.py ising          # spin updates a second of cluster sampling
    python benchmarks/samplers.py sweeps         # its error at the critical point against the number of updates
    python benchmarks/samplers.py exclusion      # milliseconds and memory of an exclusion process
    python benchmarks/samplers.py exact          # milliseconds of every exact solution and exact sample

Times are of the processor, so that other work on the machine counts for little; the best of three is taken.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import numpy as np
import pandas as pd
from record import record_table
from threadpoolctl import threadpool_limits

from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.gaussian_linear import GaussianLinear
from hessgeo.systems.solvable.ising import CRITICAL_COUPLING, Ising
from hessgeo.systems.solvable.ising_chain import IsingChain
from hessgeo.systems.solvable.isnnn import IsingNextNearest
from hessgeo.systems.solvable.kaufman import kaufman
from hessgeo.systems.solvable.tasep import Tasep

REPEATS = 3
LABELS = {
    "ising": ["side", "K", "h"],
    "sweeps": ["side", "sweeps"],
    "exclusion": ["sites"],
    "exact": ["system"],
}
UNITS = {
    "updates a second": "1/s",
    "ms a sample": "ms",
    "ms a score": "ms",
    "ms a solution": "ms",
    "MB": "MB",
}
# Peak memory of drawing one sample, above that of drawing four sites; Linux alone tells it.
MEMORY = """
import numpy as np
from pathlib import Path
from hessgeo.systems.solvable.tasep import Tasep

def draw(sites):
    Tasep(sites).sample(np.array([[.3, .6]]), np.arange(1), 0)

def kilobytes(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))

draw(4)
Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
before = kilobytes("VmRSS")
draw({sites})
print((kilobytes("VmHWM") - before) / 1024)
"""


def seconds(work):
    """Least processor time of a few runs, after one that compiles."""
    work()
    times = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def draw(system, point, samples):
    return system.sample(np.tile(point, (samples, 1)), np.arange(samples), 0)


def ising():
    rows = []
    for side in (8, 32, 128):
        for point in ((0.3, 0.0), (CRITICAL_COUPLING, 0.0), (0.44, 0.05), (0.6, 0.0), (0.2, 1.0)):
            sweeps, samples = 100, max(1, 2**15 // side**2)
            system = Ising(side, sweeps=sweeps)
            taken = seconds(lambda system=system, point=point, samples=samples: draw(system, point, samples))
            rate = samples * sweeps * side**2 / taken
            rows.append({"side": side, "K": point[0], "h": point[1], "updates a second": rate})
    return pd.DataFrame(rows)


def sweeps():
    """From all spins up, at the critical point: how far the mean of the bonds is, in deviations of one state."""
    side, samples, rows = 64, 300, []
    _, mean, variance = kaufman(np.array([CRITICAL_COUPLING]), width=side, height=side)
    for number in (5, 10, 20, 40, 80):
        states = draw(Ising(side, sweeps=number), (CRITICAL_COUPLING, 0.0), samples)
        found = Ising(side).sufficient_statistics(states)[:, 0]
        bias = (found.mean() - mean[0]) / np.sqrt(variance[0])
        rows.append({"side": side, "sweeps": number, "bias": bias, "its error": samples**-0.5})
    return pd.DataFrame(rows)


def exclusion():
    rows = []
    for sites, samples in ((64, 200), (256, 100), (1024, 20), (4096, 2)):
        process, rng = Tasep(sites), np.random.default_rng(0)
        points = rng.uniform(0, 1, (samples, 2))
        taken = seconds(
            lambda process=process, points=points: process.sample(points, np.arange(len(points)), 0)
        )
        states = process.sample(points, np.arange(samples), 0)
        scored = seconds(lambda process=process, points=points, states=states: process.score(states, points))
        code = MEMORY.format(sites=sites)
        peak = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        rows.append(
            {
                "sites": sites,
                "ms a sample": 1e3 * taken / samples,
                "ms a score": 1e3 * scored / samples,
                "MB": float(peak.stdout),
            }
        )
    return pd.DataFrame(rows)


def exact():
    systems = {
        "Ising 8 x 8": Ising(8, method="exact"),
        "Ising 12 x 12": Ising(12),
        "Ising, diagonals, 8 x 8": IsingNextNearest(8),
        "Ising ring of 1024": IsingChain(1024),
        "Curie-Weiss of 1024": CurieWeiss(1024),
        "linear Gaussian of 64": GaussianLinear(np.random.default_rng(0).normal(size=(64, 2)), noise=1.0),
    }
    points = np.random.default_rng(0).uniform(0.1, 0.5, (4, 2))
    rows = []
    for name, system in systems.items():
        solved = seconds(lambda system=system: system.cumulants(points))
        drawn = seconds(lambda system=system: system.sample(points, np.arange(len(points)), 0))
        rows.append(
            {
                "system": name,
                "ms a solution": 1e3 * solved / len(points),
                "ms a sample": 1e3 * drawn / len(points),
            }
        )
    return pd.DataFrame(rows)


def main():
    measurements = {"ising": ising, "sweeps": sweeps, "exclusion": exclusion, "exact": exact}
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measurement", nargs="?", choices=measurements)
    chosen = parser.parse_args().measurement
    with threadpool_limits(1):
        for name, measure in measurements.items():
            if chosen in (None, name):
                table = measure()
                print(table.to_string(index=False, float_format="{:.3g}".format), "\n")
                record_table(f"samplers {name}", table, labels=LABELS[name], units=UNITS)


if __name__ == "__main__":
    main()
