"""The Hessian geometry of what a generative model has learned: studies of config.yaml, from samples to a report."""

import sys
from functools import partial

from snakemake.dag import DAG
from snakemake.io import _IOFile, is_flagged
from snakemake.jobs import GroupJob, Job
from snakemake.output_index import OutputIndex
from snakemake.persistence import PersistenceBase
from snakemake.rules import Rule
from snakemake.scheduling.job_scheduler import JobScheduler
from snakemake.utils import min_version

from hessgeo.pipeline.captions import caption
from hessgeo.pipeline.config_files import one_line_each, read_config_file
from hessgeo.pipeline.context import explain_killed, prepare_jobs, repeat_command
from hessgeo.pipeline.embedding_names import embedding_name
from hessgeo.pipeline.explorer import PAGE, source_digest
from hessgeo.pipeline.figures import drawings
from hessgeo.pipeline.folders import ANCHOR_FILES, NETWORK_FILES
from hessgeo.pipeline.layout import PATH_TABLES, Layout
from hessgeo.pipeline.partitions import Scheduler
from hessgeo.pipeline.patches import patch
from hessgeo.pipeline.place import folder_of
from hessgeo.pipeline.report_opening import opening
from hessgeo.pipeline.rules import by_target, complete_rules, is_frame, made_by, once_a_file, unframed
from hessgeo.pipeline.runs import in_a_thread, one_run, stops_without_store
from hessgeo.pipeline.settings import read_configuration, read_settings
from hessgeo.pipeline.solvable import SCORED
from hessgeo.pipeline.solvable_layout import TABLES
from hessgeo.pipeline.study_models import DIFFUSION_FILES, MODELS
from hessgeo.pipeline.zoom_layout import FILMS

min_version("9.0")


# Of this file, which another may include, or use as a module.
root = folder_of(workflow.current_basedir)
config_file = root / "config.yaml"
with one_line_each():
    # Those of --configfile were read before, by the profile.
    read_config_file(config_file)


configfile: config_file


# --replace-workflow-config leaves config.yaml out, if there is anything in its place.
given = workflow.config_settings
replaced = bool(given.replace_workflow_config and given.overwrite_config)
with one_line_each():
    if workflow.modifier.is_module:
        # All that the other workflow gives, wherever it has it from.
        settings = read_settings(config)
    else:
        settings = read_configuration(
            config,
            files=[config_file][replaced:] + workflow.overwrite_configfiles,
            entries=given.config,
        )

again = repeat_command(workflow.main_snakefile, given.configfiles, given.config_args, replaced=replaced)
prepare_jobs(root, again)

# What Snakemake says of a job that failed names its log, which is to be there and to hold a reason, whatever happened.
for kind in (Job, GroupJob):
    patch(kind, "log_error", explain_killed)

# Of 2,000 shards a plan is done in less than three quarters of the time.
patch(OutputIndex, "match_producers", once_a_file)

# Metadata of samples that were lost cost themselves, and not the samples.
_IOFile.is_ancient = property(lambda file: is_flagged(file._file, "ancient") or is_frame(file))
patch(DAG, "update_needrun", unframed)

# One run at a time in a folder, also of targets without outputs; what a killed run left locked is free again. Of a
# scheduler: a job that no node can hold is refused, and one that was killed gets more at its next attempt.
scheduler = Scheduler()
patch(PersistenceBase, "lock", partial(one_run, again=again, results=settings.results), scheduler.checked)
patch(Rule, "expand_resources", scheduler.grown)

# Else a run that is told to stop as it takes note of a job's end waits for ever.
patch(JobScheduler, "exit_gracefully", in_a_thread)

# Else each of hundreds of jobs waits in turn for an object store that is away.
patch(JobScheduler, "_handle_error", partial(stops_without_store, again=again))

layout = Layout(settings, root)


# With a summary of what is built before it, when a report is made.
report: opening(root / "workflow" / "report" / "workflow.rst", layout, sys.argv)


study, model = layout.any_study.path, partial(layout.path, "models", "{model}")
solvable = layout.solvable
setting, model_setting, of_study = layout.setting, layout.model_setting, layout.of_study


wildcard_constraints:
    study="|".join(settings.studies),
    model="|".join(settings.models) or "none",
    store="|".join(entry.store for entry in layout.studies),
    comparison="|".join(settings.comparisons) or "none",
    key="[0-9a-f]{8}",
    shard="[0-9]+",
    system="|".join(solvable.systems) or "none",
    seed="[0-9]+",
    samples="[0-9]+",
    digest="[0-9a-f]{8}",
    history="[0-9a-f]{8}",
    part="[0-9]+",
    parts="[0-9]+",


localrules:
    all,
    table1,
    create_samples,
    create_embedding,
    create_predictions,
    create_features,
    history,
    create_states,
    import_points,
    collect_numbers,
    verify,
    plan,
    table2,
    generative_geodesics,
    zoom,
    compare,
    stability,
    explore,
    safety,
    morph,
    refine,
    paper,


rule all:
    default_target: True
    input:
        layout.targets,
    message:
        "Every study is complete"


include: "workflow/rules/models.smk"
include: "workflow/rules/samples.smk"
include: "workflow/rules/posterior.smk"
include: "workflow/rules/free_energy.smk"
include: "workflow/rules/phases.smk"
include: "workflow/rules/comparisons.smk"
include: "workflow/rules/stability.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/geodesics.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/solvable.smk"
include: "workflow/rules/verify.smk"
include: "workflow/rules/plan.smk"
include: "workflow/rules/generative.smk"
include: "workflow/rules/history.smk"
include: "workflow/rules/zoom.smk"
include: "workflow/rules/explore.smk"
include: "workflow/rules/safety.smk"
include: "workflow/rules/morph.smk"
include: "workflow/rules/refine.smk"
include: "workflow/rules/paper.smk"


complete_rules(workflow, layout)
