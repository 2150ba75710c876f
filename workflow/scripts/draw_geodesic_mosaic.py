"""Draw geodesics of the Fisher metric on the images of a study and on the metric."""

import numpy as np

from hessgeo import store
from hessgeo.evaluation.path_table import shown_pairs
from hessgeo.figures import geodesic_mosaic, mosaic, save_figure
from hessgeo.grids import Grid
from hessgeo.metrics.diagnostics import eigenvalues, in_units
from hessgeo.metrics.repair import repaired_field
from hessgeo.pipeline import script_context


def main(images, free_energy, paths, scores, boundaries, grid, nodes, settings, output):
    pairs = shown_pairs(scores, 2 * settings["shown"])
    curves = paths["points"].sel({"method": "fisher"}).to_numpy()[pairs]
    of_fisher = scores[scores["method"] == "fisher"].set_index("pair").loc[pairs]
    of_line = scores[scores["method"] == "linear"].set_index("pair").loc[pairs]
    numbers = {"pair": np.array(pairs), "length": of_fisher["fisher"], "length_of_line": of_line["fisher"]}
    numbers |= {name: of_fisher[name] for name in ("certified", "residual", "within_phase")}
    fisher = free_energy["fisher_metric"].to_numpy()
    field = repaired_field(fisher, grid, smoothing=settings["smoothing"], floor=settings["floor"])
    largest = eigenvalues(in_units(field.metric, grid.square))[..., 1]
    figure, table = geodesic_mosaic.draw(images, nodes, grid, largest, boundaries, curves, numbers)
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=free_energy.attrs["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, grid = step.params, Grid(**step.params.grid)
        shape = store.open_array(params.store, "image").shape[1:]
        nodes = mosaic.tile_nodes(grid, shape, tiles=params.tiles)
        images = store.read_rows(params.store, "image", nodes.ravel())
        free_energy = store.read_dataset(step.input.free_energy)
        paths, scores = store.read_dataset(step.input.paths), store.read_table(step.input.scores)
        boundaries = store.read_json(step.input.phases)["boundaries"]
        main(images, free_energy, paths, scores, boundaries, grid, nodes, params.geodesics, step.output)
