"""Say what each study takes: images, disk, memory and time, from a probe of a few images."""

import sys

from tqdm import tqdm

from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.plan import load_study_embedding, load_study_system, plan_study
from hessgeo.pipeline.plan_text import format_plans


def main(studies, device, report, url=None):
    load = {"load_system": load_study_system, "load_embedding": load_study_embedding}
    plans = [plan_study(study, **load, device=device) for study in tqdm(studies, desc="studies")]
    report.write(format_plans(plans, url=url))


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(step.params.studies, pick_device(), sys.stdout, step.params.url)
