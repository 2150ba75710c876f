"""Find shortest paths through a horseshoe-shaped density for several lam."""

import torch

from hessgeo import store
from hessgeo.densities.experiments import lambda_sweep
from hessgeo.densities.toys import HORSESHOE_BOX, HORSESHOE_ENDS, horseshoe
from hessgeo.pipeline import script_context


def main(output, lams, p0, spacing):
    ends = torch.tensor(HORSESHOE_ENDS, dtype=torch.float64)
    sweep = lambda_sweep(horseshoe(), ends, lams, p0=p0, box=HORSESHOE_BOX, spacing=spacing)
    store.write_dataset(output, sweep)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        sweep = step.params.sweep
        main(step.output.paths, sweep["lams"], sweep["p0"], sweep["spacing"])
