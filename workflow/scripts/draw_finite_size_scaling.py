"""Draw how the heat capacity of the Ising model peaks on finite lattices, and samples beside it."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from hessgeo.evaluation.finite_size import heat_capacity, heat_capacity_peak, measured_heat_capacity
from hessgeo.figures import finite_size_scaling, save_figure
from hessgeo.pipeline import script_context
from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.ising import CRITICAL_TEMPERATURE, Ising

LARGEST_SAMPLED = 64  # lattices beyond it take minutes for what the smaller ones show
SWEEPS = 100


def measured(side, temperatures, samples):
    system = Ising(side, coordinates=TEMPERATURE_FIELD, sweeps=SWEEPS)
    for temperature in tqdm(temperatures, desc=f"side {side}"):
        points = np.tile([temperature, 0.0], (samples, 1))
        bonds = system.sufficient_statistics(system.sample(points, np.arange(samples), side))[:, 0]
        value, error = measured_heat_capacity(bonds, temperature, side**2)
        yield {"side": side, "temperature": temperature, "heat_capacity": value, "error": error}


def main(sizes, samples, output):
    fine, few = (
        CRITICAL_TEMPERATURE * np.linspace(0.8, 1.3, 401),
        CRITICAL_TEMPERATURE * np.linspace(0.85, 1.25, 9),
    )
    curves = pd.concat(
        pd.DataFrame({"side": side, "temperature": fine, "heat_capacity": heat_capacity(fine, side)})
        for side in sizes
    )
    peaks = pd.DataFrame({"side": side, **heat_capacity_peak(side)._asdict()} for side in sizes)
    marks = pd.DataFrame(
        row for side in sizes if side <= LARGEST_SAMPLED for row in measured(side, few, samples)
    )
    save_figure(*finite_size_scaling.draw(curves, peaks, marks), output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.sizes, step.params.samples, step.output)
