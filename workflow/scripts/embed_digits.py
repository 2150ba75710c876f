"""Draw handwritten digits in the plane by geodesic and by Euclidean distances."""

from hessgeo import store
from hessgeo.densities.digit_paths import digit_coordinates, embed_points, fit_density
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import script_context


def main(output, digits, split):
    images = load_digits(**split)
    _, train, test = digit_coordinates(images, digits["components"])
    options = {key: digits[key] for key in ("seed", "clouds", "floor", "flow_steps")}
    density = fit_density(train, digits["density"], **options)
    rows = slice(digits["embedded"])
    graph = {key: digits[key] for key in ("quantile", "neighbours", "seed")}
    labels = images.train.labels[rows]
    store.write_dataset(output, embed_points(train[rows], labels, density, held_out=test, **graph))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.output.pictures, step.params.digits, step.params.split)
