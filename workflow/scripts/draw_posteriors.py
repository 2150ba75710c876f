"""Draw measured and fitted posteriors of a few sources of a study."""

import numpy as np

from hessgeo import store
from hessgeo.evaluation.posterior_rows import fitted_rows, measured_rows
from hessgeo.figures import posteriors, save_figure
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context
from hessgeo.posteriors import read_posterior


def choose_sources(phases, t, count):
    """The typical samples of the largest phases, then the samples farthest from those chosen so far."""
    largest = sorted(phases, key=lambda phase: -phase["area"])
    chosen = [phase["medoid"] for phase in largest][:count]
    while len(chosen) < min(count, len(t)):
        distance = np.linalg.norm(t[:, None] - t[chosen], axis=-1).min(axis=1)
        chosen.append(int(np.argmax(distance)))
    return np.array(chosen)


def main(path, embedding, posterior, free_energy, phases, grid, count, output):
    # A network's posterior has nodes of its own, and the rows of some sources: of each choice the nearest of these.
    own = None if posterior.support is None else posterior.carrier(grid)
    nodes = own or grid
    chosen = posterior.sources_with_rows(choose_sources(phases, grid.frame.into(posterior.t), count))
    measured = measured_rows(posterior, embedding, chosen, nodes).reshape(-1, *nodes.shape)
    fitted = fitted_rows(free_energy, posterior.t, chosen, grid, carrier=own).reshape(-1, *nodes.shape)
    images = store.read_rows(path, "image", chosen)
    figure, table = posteriors.draw(images, measured, fitted, posterior.t[chosen], nodes)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=free_energy.attrs["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, phases = step.params, store.read_json(step.input.phases)["phases"]
        posterior, free_energy = (
            read_posterior(step.input.posterior),
            store.read_dataset(step.input.free_energy),
        )
        main(
            params.store,
            store.read_array(params.store, params.array),
            posterior,
            free_energy,
            phases,
            Grid(**params.grid),
            params.sources,
            step.output,
        )
