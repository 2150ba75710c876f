"""Draw the errors of every estimator's Fisher metric over the plane of one system."""

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.figures import fisher_comparison, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import parameter_names, read_figure


def main(records, truth, settings, output):
    metrics = {
        ESTIMATORS[record.estimator].title: record.estimate.metric
        for record in records
        if record.estimate.metric is not None
    }
    figure = fisher_comparison.draw(
        metrics, truth.flat("metric"), truth.grid, names=parameter_names(settings)
    )
    save_figure(*figure, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        records, (truth,), (settings,) = read_figure(step)
        main(records, truth, settings, step.output)
