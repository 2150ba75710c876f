"""What costs nothing to check: the plan of a run, and bad settings that stop before it."""

import subprocess
import sys

import yaml

from hessgeo.figures import registry

STUDY_STEPS = {
    "train_diffusion", "train_clip", "train_classifier", "create_anchors", "generate_samples", "embed_samples",
    "estimate_posterior", "fit_free_energy", "calibrate_posterior", "derive_metric", "segment_phases",
    "scan_resolution",
}  # fmt: skip
DENSITY_STEPS = {
    "sweep_lambda", "build_graphs", "measure_graph_convergence", "map_affinity", "cluster_toys", "embed_digits",
    "interpolate_digits",
}  # fmt: skip
TABLE_STEPS = {
    "sample_states", "solve_system", "estimate_geometry", "score_estimates", "solve_geodesics", "score_paths",
    "measure_stability",
}  # fmt: skip
PROFILE = "Using workflow specific profile"


def test_a_run_is_planned_from_nothing(empty):
    workflow = empty()
    result = workflow.run("--dry-run", "--quiet", "rules")
    jobs = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    assert {name: jobs[name] for name in ("generate_samples", "embed_samples")} == {
        "generate_samples": "4",
        "embed_samples": "4",
    }
    drawn = {f"draw_{figure.name}" for figure in registry.STUDY}
    # The anchors of this study are no images, it has two parameters, and they are its coordinates.
    assert drawn - set(jobs) == {"draw_inversion", "draw_profile", "draw_coordinates"}
    # The posterior of this study is read off distances, not off images; tables and densities have targets of their own.
    assert set(jobs) >= STUDY_STEPS
    assert not (TABLE_STEPS | DENSITY_STEPS) & set(jobs)
    assert not workflow("results").exists()


def test_the_papers_are_planned_from_nothing(empty):
    result = empty().run("paper", "--dry-run", "--quiet", "rules")
    jobs = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    # Figs. 9 and 10 and the first of the other paper have no result in this configuration.
    assert (jobs["assemble_figure"], jobs["assemble_table"], jobs["index_papers"]) == ("19", "2", "1")
    assert set(jobs) >= {"draw_bregman_divergence", "draw_first_derivatives_over_images", "tabulate_paths"}


def refused(workflow, *arguments):
    """Lines on standard error of a run that must stop before anything is made."""
    result = workflow.run("--dry-run", *arguments, check=False)
    assert result.returncode != 0
    assert "Traceback" not in result.stdout + result.stderr
    assert list(workflow.directory.iterdir()) == []
    return [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]


def test_entries_that_the_schema_refuses_stop_the_run(empty):
    posterior = {"kernel": "gausian", "kernal": "gaussian", "resolution": "20"}
    lines = refused(empty(studies={"tiny": {"posterior": posterior}}))
    assert len(lines) == 3
    assert lines[0].startswith(
        "hessgeo: studies.tiny.posterior.kernal: unknown key; nearest: kernel; allowed: "
    )
    assert lines[1] == (
        "hessgeo: studies.tiny.posterior.kernel: 'gausian' is not allowed; allowed: gaussian, laplace"
    )
    assert lines[2].startswith(
        "hessgeo: studies.tiny.posterior.resolution: '20' is not allowed; allowed: auto or"
    )


def test_entries_that_do_not_fit_together_stop_the_run(empty):
    lines = refused(
        empty(
            results="/dev/null/results",
            run=["tiny", "tyni"],
            studies={
                "tiny": {
                    "slice": {"extent": [[2, -1], [-1, 2]], "anchors": "nowhere.npy"},
                    "sampling": {"shard": 60},
                    "embedding": {"checkpoint": "nowhere"},
                }
            },
        )
    )
    assert [line.split(": ")[1] for line in lines] == [
        "results",
        "run[1]",
        "studies.tiny.slice.extent",
        "studies.tiny.sampling.shard",
        "studies.tiny.embedding.checkpoint",
        "studies.tiny.slice.anchors",
    ]


def test_settings_of_the_command_line_are_checked_too(empty):
    (line,) = refused(empty(), "--config", "defaults={posterior: {resolution: 20}}")
    assert line.startswith("hessgeo: defaults.posterior.resolution: '20' is not allowed")
    assert "--configfile does not" in line


def test_the_default_profile_loads_by_itself_in_another_folder_too(repository):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        repository / "Snakefile",
        "--dry-run",
        "--quiet",
    ]
    result = subprocess.run(
        command, cwd=repository / "tests", capture_output=True, text=True, check=False, timeout=300
    )
    assert PROFILE in result.stderr
    assert result.returncode == 0, result.stderr


def test_the_geodesics_of_densities_are_planned_apart_from_the_studies(repository, empty):
    quick = yaml.safe_load((repository / "workflow" / "studies" / "generative-quick.yaml").read_text())
    workflow = empty(base=quick)
    result = workflow.run("generative_geodesics", "--dry-run", "--quiet", "rules")
    jobs = dict(line.split() for line in result.stdout.splitlines() if len(line.split()) == 2)
    assert DENSITY_STEPS | {"train_diffusion"} <= set(jobs)
    assert {f"draw_{figure.name}" for figure in registry.DENSITY} <= set(jobs)
    assert "generate_samples" not in jobs


def test_settings_of_densities_that_do_not_fit_together_stop_the_run(empty):
    clustering = {"points": 50, "neighbours": 60}
    lines = refused(empty(generative={"model": "digit", "clustering": clustering}), "generative_geodesics")
    assert lines == [
        "hessgeo: generative.model: 'digit' is not allowed; allowed: an entry of models (digits, tiny); "
        "nearest: digits",
        "hessgeo: generative.clustering.neighbours: 60 is not allowed; allowed: fewer than points, 50",
    ]
