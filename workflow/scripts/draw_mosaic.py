"""Draw the images of a study where they come from."""

import numpy as np
from scipy.spatial import cKDTree

from hessgeo import store
from hessgeo.figures import mosaic, save_figure
from hessgeo.figures.thumbnails import shrink
from hessgeo.grids import Grid
from hessgeo.pipeline import script_context

BLOCK = 32  # images in memory at their full size


def read_tiles(path, samples, side):
    """The images of the samples, block by block, no larger than they are drawn."""
    for block in np.array_split(samples, -(-len(samples) // BLOCK)):
        yield shrink(store.read_rows(path, "image", block), side)


def main(path, t, found, grid, tiles, output):
    image_shape = store.open_array(path, "image").shape[1:]
    nodes = mosaic.tile_nodes(grid, image_shape, tiles=tiles)
    # On a grid the nearest sample of a node is its own; of a scattered design it stands for it.
    _, samples = cKDTree(grid.frame.into(t)).query(grid.unit.points[nodes.ravel()])
    images = np.concatenate(list(read_tiles(path, samples, mosaic.tile_side(nodes))))
    figure, table = mosaic.draw(images, nodes, grid, found["boundaries"])
    table["sample"] = samples
    save_figure(figure, table, output.svg, output.png, output.csv, verdict=found["verdict"])


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params, found = step.params, store.read_json(step.input.phases)
        t = store.read_array(params.store, "t")
        main(params.store, t, found, Grid(**params.grid), params.tiles, step.output)
