"""Draw the error of the metric against the number of samples, for every estimator."""

import pandas as pd

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.metric_scores import metric_scores
from hessgeo.figures import sample_convergence, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import read_figure, system_title


def runs(records, truths, titles):
    for record in records:
        truth, estimate = truths[record.system], record.estimate
        if estimate.metric is not None:
            error = metric_scores(estimate, truth.flat("metric"), truth.grid).median
            about = {"system": titles[record.system], "method": ESTIMATORS[record.estimator].title}
            yield {**about, "samples": record.samples, "error": error}


if __name__ == "__main__":
    with script_context(snakemake) as step:
        records, truths, _ = read_figure(step)
        titles = {name: system_title(settings) for name, settings in step.params.systems.items()}
        table = pd.DataFrame(runs(records, {truth.system: truth for truth in truths}, titles))
        save_figure(
            *sample_convergence.draw(table, panel="system"), step.output.svg, step.output.png, step.output.csv
        )
