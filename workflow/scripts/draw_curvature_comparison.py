"""Draw the thermodynamic curvature of fitted metrics beside the exact one."""

from hessgeo.evaluation.exact_curvature import exact_curvature
from hessgeo.figures import curvature_comparison, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import parameter_names, read_figure, system_title
from hessgeo.pipeline.solvable_systems import load_system


def curvature(record, truth, settings):
    # That of the metric a site, in sites.
    exact = exact_curvature(load_system(settings), truth.flat("natural")) * truth.sites
    fitted = record.fields["curvature"].to_numpy().ravel() * truth.sites
    return curvature_comparison.Curvature(
        system_title(settings), truth.grid, parameter_names(settings), fitted, exact
    )


if __name__ == "__main__":
    with script_context(snakemake) as step:
        systems = [curvature(*one) for one in zip(*read_figure(step), strict=True)]
        save_figure(*curvature_comparison.draw(systems), step.output.svg, step.output.png, step.output.csv)
