"""Draw the images of a study where they come from."""

from scipy.spatial import cKDTree

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.plotting import mosaic, save_figure
from hessgeo.workflow import script_context


def main(images, t, boundaries, grid, tiles, output):
    # On a grid the nearest sample of a node is its own; of a scattered design it stands for it.
    _, nearest = cKDTree(t).query(grid.points)
    figure, table = mosaic.draw(images[nearest], grid, boundaries, tiles=tiles)
    table["sample"] = nearest[table["sample"]]
    save_figure(figure, table, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        images, t = (store.read_array(params.store, name) for name in ("image", "t"))
        boundaries = store.read_json(step.input.phases)["boundaries"]
        main(images, t, boundaries, Grid(**params.grid), params.tiles, step.output)
