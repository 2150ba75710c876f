"""Draw the error of Hessians against the loss of divergences (Theorem 3.2), for all estimates of growing samples."""

import pandas as pd

from hessgeo.estimators.base import Estimate
from hessgeo.estimators.names import ESTIMATORS
from hessgeo.evaluation.hessian_convergence import hessian_errors
from hessgeo.figures import hessian_convergence, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.score_tables import read_figure


def fits(records, truth):
    exact = Estimate(value=truth.flat("value"), gradient=truth.flat("gradient"), metric=truth.flat("metric"))
    for record in records:
        estimate = record.estimate
        if estimate.value is not None and estimate.metric is not None:
            found = hessian_errors(estimate, exact, truth.grid.points)
            about = {"series": ESTIMATORS[record.estimator].title, "step": record.samples}
            yield {**about, "loss": found.loss, "largest": found.largest, "rms": found.rms}


if __name__ == "__main__":
    with script_context(snakemake) as step:
        records, (truth,), _ = read_figure(step)
        figure = hessian_convergence.draw(pd.DataFrame(fits(records, truth)))
        save_figure(*figure, step.output.svg, step.output.png, step.output.csv)
