"""The tiny study from end to end: everything is there, makes sense, and is made once."""

import re

import numpy as np
import pandas as pd
import pytest

import hessgeo
from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline.estimation import distance_posterior
from hessgeo.posteriors import read_posterior

pytestmark = pytest.mark.slow


def test_everything_is_made_and_nothing_is_empty(finished):
    missing = [path for path in finished.study.targets if not finished(path).exists()]
    assert missing == []
    files = [path for path in finished("results").rglob("*") if path.is_file()]
    empty = [path for path in files if path.stat().st_size == 0 and path.name != ".snakemake_timestamp"]
    assert empty == []
    assert [path for path in files if path.name.endswith(".partial")] == []


def test_nothing_is_left_to_do(finished):
    result = finished.run("--dry-run")
    assert "Nothing to be done" in result.stdout + result.stderr


def test_every_job_has_a_log_and_a_benchmark(finished):
    logs = {
        path.with_suffix("").relative_to(finished("results/logs"))
        for path in finished("results/logs").rglob("*.log")
    }
    times = finished("results/benchmarks")
    assert logs == {path.with_suffix("").relative_to(times) for path in times.rglob("*.tsv")}
    assert len(logs) == 4 + 1 + 1 + 4 + 1 + 1 + 4 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + len(finished.study.figures)
    text = finished("results/logs/tiny/fit_free_energy.log").read_text()
    assert re.search(r"fit_free_energy \(study tiny\) on \d threads", text)
    assert re.search(r"done in [\d.]+ s", text)


def test_samples_are_those_of_the_grid(finished):
    samples = finished(finished.study.samples)
    t = store.read_array(samples, "t")
    axis = np.linspace(-1, 2, 16)
    np.testing.assert_array_equal(t[:16], np.stack([np.full(16, -1.0), axis], axis=1))
    images = store.read_array(samples, "image")
    assert images.shape == (256, 8, 8, 1)
    # 256 points of a plane give 256 images: a shard that was filled twice would show.
    assert len(np.unique(images, axis=0)) == 256
    embedding = store.read_array(samples, finished.study.embedding_array)
    assert embedding.shape == (256, 16)
    # float32 rounding of a unit vector
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=1), 1, atol=1e-6)


def test_the_posterior_sums_to_one_and_its_resolution_is_the_rule(finished):
    posterior = read_posterior(finished("results/tiny/posterior.zarr"))
    # Each of 256 rows sums to one; float32 exponentials leave 1e-6 a row.
    assert posterior.marginal.sum() == pytest.approx(256, rel=1e-5)
    rule = finished.study.settings.studies["tiny"]["posterior"]
    # auto holds the quantile over 64 of the 256 sources to so many cells; over all of them it may be off by their
    # scatter: a standard error of 0.5 / sqrt(64) = 6 % in rank, where the density of the cells is about 1 / cells.
    reached = np.quantile(posterior.effective_cells, rule["quantile"])
    assert reached == pytest.approx(rule["cells"], rel=0.3)
    numbers = store.read_json(finished("results/tiny/numbers.json"))
    assert numbers["posterior"]["resolution"] == posterior.resolution
    assert numbers["free_energy"]["converged"]


def test_derivatives_on_file_belong_together(finished):
    dataset = store.read_dataset(finished("results/tiny/free_energy.nc"))
    # Nodes are far apart against the splines, so differences only follow the derivative: correlation, not equality.
    slope = np.gradient(dataset["free_energy"].to_numpy(), dataset["a"].to_numpy(), axis=0)
    assert np.corrcoef(slope.ravel(), dataset["gradient"].sel(i="a").to_numpy().ravel())[0, 1] > 0.98
    bend = np.gradient(dataset["gradient"].sel(i="a").to_numpy(), dataset["b"].to_numpy(), axis=1)
    mixed = dataset["fisher_metric"].sel(i="a", j="b").to_numpy()
    assert np.corrcoef(bend[:, 1:-1].ravel(), mixed[:, 1:-1].ravel())[0, 1] > 0.95
    metric = store.read_dataset(finished("results/tiny/metric.nc"))
    product = metric["largest_eigenvalue"] * metric["smallest_eigenvalue"]
    definite = metric["positive_definite"].to_numpy()
    np.testing.assert_allclose(
        np.log(product.to_numpy()[definite]), metric["log_determinant"].to_numpy()[definite]
    )
    assert np.isnan(metric["log_determinant"].to_numpy()[~definite]).all()


def test_phases_cover_the_box(finished):
    label = store.read_dataset(finished("results/tiny/phases.nc"))["label"].to_numpy()
    found = store.read_json(finished("results/tiny/phases.json"))
    assert [phase["label"] for phase in found["phases"]] == list(range(1, label.max() + 1))
    for phase in found["phases"]:
        assert phase["area"] == pytest.approx(np.mean(label == phase["label"]))
        assert label.ravel()[phase["medoid"]] == phase["label"]
    assert sum(phase["samples"] for phase in found["phases"]) == 256


def test_the_scan_passes_through_the_study(finished):
    table = pd.read_csv(finished("results/tiny/resolution_scan.csv"))
    assert table["factor"].tolist() == [0.5, 1, 2]
    chosen = table[table["chosen"]].iloc[0]
    numbers = store.read_json(finished("results/tiny/numbers.json"))
    # The table keeps ten digits.
    assert chosen["N"] == pytest.approx(numbers["posterior"]["resolution"], rel=1e-9)
    assert chosen["largest_eigenvalue_99"] == pytest.approx(
        numbers["metric"]["largest_eigenvalue_99"], rel=1e-6
    )
    assert chosen["phases"] == numbers["phases"]["phases"]
    # A sharper posterior spreads over fewer cells.
    assert (np.diff(table["effective_cells_median"]) < 0).all()


def test_the_report_holds_every_figure_and_its_caption(finished, tmp_path):
    report = tmp_path / "report.html"
    finished.run("--report", report)
    text = report.read_text(encoding="utf-8")
    for figure in finished.study.figures:
        assert f"results/tiny/figures/{figure.name}.svg" in text
    # From the captions, with the study's name in its place.
    assert "What the system draws" in text
    assert "snakemake.wildcards.study" not in text


def test_a_failed_job_ends_in_one_line_and_keeps_its_traceback(copied):
    workflow = copied()
    workflow("results/tiny/free_energy.nc").write_bytes(b"no NetCDF")
    result = workflow.run("results/tiny/metric.nc", check=False)
    assert result.returncode != 0
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]
    log = "results/logs/tiny/derive_metric.log"
    assert line.startswith("hessgeo: derive_metric (study tiny) failed: ")
    assert line.endswith(f"(log: {log})")
    assert "Traceback (most recent call last)" in workflow(log).read_text()


def test_a_new_setting_redoes_what_depends_on_it_alone(copied):
    workflow = copied(studies={"tiny": {"phases": {"minimum_area": 0.05}}})
    result = workflow.run("--dry-run", "--quiet", "rules")
    jobs = {line.split()[0] for line in result.stdout.splitlines() if len(line.split()) == 2}
    assert {"segment_phases", "scan_resolution", "draw_phases"} <= jobs
    assert not jobs & {"train_diffusion", "generate_samples", "estimate_posterior", "fit_free_energy"}


def test_a_scattered_study_of_local_folders_takes_the_same_path(finished, copied):
    models = finished("results/models/tiny")
    other = {
        "system": {"checkpoint": str(models / "diffusion"), "steps": 4, "batch_size": 64},
        "slice": {
            "anchors": str(finished("anchors.npy")),
            "extent": [[0, 1], [0, 2]],
            "normalisation": "std",
        },
        "sampling": {"design": "sobol", "count": 512, "shard": 256, "grid": [8, 12]},
        "embedding": {"checkpoint": str(models / "clip")},
        "posterior": {
            "kernel": "laplace",
            "cells": 20,
            "sources": 64,
            "coarse": [4, 6],
            "neighbours": 3,
            "parts": 2,
        },
        "free_energy": {
            "fit": "mlp",
            "splines": [6, 6],
            "mlp": {"width": 16, "depth": 2, "steps": 30, "sources": 64},
        },
        "scan": {"factors": [1]},
    }
    np.save(finished("anchors.npy"), np.random.default_rng(5).standard_normal((3, 1, 8, 8)))
    workflow = copied(run=["other"], studies={"other": other})
    workflow.run(*(f"results/other/figures/{name}.csv" for name in ("mosaic", "posteriors")))
    assert store.read_json(workflow("results/other/numbers/posterior.json"))["kernel"] == "laplace"
    assert store.read_json(workflow("results/other/numbers/free_energy.json"))["fit"] == "mlp"
    # Of two parts by a job each the posterior is what one job makes, and one that was lost is due alone.
    study = workflow.study
    embedding = store.open_array(workflow(study.samples), study.embedding_array)
    t = store.read_array(workflow(study.samples), "t")
    options = {"seed": study.setting("seed"), "threads": 1, "progress": False}
    one, _ = distance_posterior(embedding, t, Grid(**study.grid), study.posterior_settings, **options)
    posterior = read_posterior(workflow("results/other/posterior.zarr"))
    np.testing.assert_equal(vars(posterior), vars(one))
    workflow(study.posterior_parts[1]).unlink()
    planned = workflow.run("--dry-run", "--quiet", "rules").stdout
    jobs = dict(re.findall(r"^(\w+) +(\d+)$", planned, re.MULTILINE))
    assert (jobs["estimate_posterior_rows"], jobs["combine_posterior"]) == ("1", "1")
    assert not {"start_posterior", "generate_samples", "embed_samples"} & set(jobs)
    # No classifier judges what may be no digit, and no model is trained for a study that brings its own.
    assert "check_samples" not in planned
    assert "train_" not in planned
    # Embeddings of scattered samples have no finite differences, and nothing claims otherwise.
    metric = store.read_dataset(workflow("results/other/metric.nc"))
    assert np.isnan(metric["measured_metric"]).all()
    assert metric["posterior_metric"].shape == (8, 12, 2, 2)
    assert posterior.coarse.shape == (512, 4, 6)
    assert posterior.neighbours.shape == (512, 3)
    table = pd.read_csv(workflow("results/other/figures/mosaic.csv"))
    # A tile shows the sample nearest to its node, which is no farther than the next node but one.
    t = posterior.t[table["sample"].to_numpy()]
    assert np.abs(t - table[["a", "b"]].to_numpy()).max() < 2 * max(1 / 7, 2 / 11)


def test_a_study_of_one_parameter_is_a_path_with_its_profile(copied):
    line = {
        "seed": 21,
        "slice": {"anchors": 21, "extent": [[-1, 2]]},
        "system": {"checkpoint": "tiny", "steps": 8, "batch_size": 64},
        "sampling": {"grid": [64], "shard": 64},
        "embedding": {"checkpoint": "tiny", "batch_size": 64},
        "posterior": {"quantile": 0.5, "sources": 64},
        "free_energy": {"splines": [24]},
        "scan": {"factors": [1]},
    }
    workflow = copied(run=["line"], studies={"line": line})
    study = workflow.study
    # What two dimensions alone have is not drawn, and no path is solved.
    assert [figure.name for figure in study.figures] == ["resolution_scan", "calibration", "profile"]
    assert not study.has_paths
    workflow.run()
    assert [path for path in study.targets if not workflow(path).exists()] == []
    t = store.read_array(workflow(study.samples), "t")
    np.testing.assert_array_equal(t, np.linspace(-1, 2, 64)[:, None])
    fields = store.read_dataset(workflow("results/line/free_energy.nc"))
    assert fields["fisher_metric"].dims == ("a", "i", "j")
    assert fields["fisher_metric"].shape == (64, 1, 1)
    assert "curvature" not in store.read_dataset(workflow("results/line/metric.nc"))
    found = store.read_json(workflow("results/line/phases.json"))
    assert len(found["boundaries"]) == len(found["phases"]) - 1
    assert found["triple_points"] == []
    table = pd.read_csv(workflow("results/line/figures/profile.csv"))
    label = store.read_dataset(workflow("results/line/phases.nc"))["label"].to_numpy()
    assert table["phase"].tolist() == label.tolist()
    assert table["a"].to_numpy() == pytest.approx(t[:, 0])
    # An image a tile.
    assert table["sample"].notna().sum() == 16
    with pytest.raises(ValueError, match="a study of one parameter"):
        hessgeo.open(workflow("results/line")).grid  # noqa: B018 - read when it is asked for
