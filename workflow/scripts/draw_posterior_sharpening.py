"""Draw how the posterior of N samples sharpens to the Bregman divergence (Theorem 3.1)."""

import numpy as np

from hessgeo.evaluation.sharpening import sharpening
from hessgeo.figures import posterior_sharpening, save_figure
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import parameter_names
from hessgeo.pipeline.solvable_systems import grid_of, load_system

COUNTS = [2**k for k in range(13)]


def main(settings, draws, output):
    grid = Grid(grid_of(settings)["extent"], (33, 33))
    point = np.mean(grid.extent, axis=1)
    found = sharpening(load_system(settings), grid, point, COUNTS, draws=draws)
    figure = posterior_sharpening.draw(found, grid, names=parameter_names(settings))
    save_figure(*figure, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        (settings,) = step.params.systems.values()
        main(settings, step.params.draws, step.output)
