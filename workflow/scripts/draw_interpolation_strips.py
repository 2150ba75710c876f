"""Draw strips of images along geodesics and along straight lines."""

from hessgeo import store
from hessgeo.figures import interpolation_strips, save_figure
from hessgeo.pipeline import script_context


def main(strips, output):
    ways = {"fisher": "geodesic", "linear": "straight line"}
    figure, table = interpolation_strips.draw(
        strips["images"].to_numpy(),
        strips["points"].to_numpy(),
        strips["steps"].to_numpy(),
        [ways[name] for name in strips["way"].to_numpy()],
        step_label="step of the\nembedding",
    )
    table["pair"] = strips["pair"].to_numpy()[table["pair"]]
    save_figure(figure, table, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.strips), step.output)
