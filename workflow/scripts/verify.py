"""Compare everything under results with what vouches for it, remove what is damaged, and say what to run next."""

import sys

from hessgeo.pipeline import script_context
from hessgeo.pipeline.verification import verify
from hessgeo.store.audit import Made

if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        verify(params.results, Made(**params.made), params.targets, sys.stdout)
