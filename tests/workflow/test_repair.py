"""Interrupted and damaged runs: what is whole stays, what is not is made again, to the same bytes."""

import json
import os
import shutil
import signal
import subprocess

import pytest
from damages import flip
from kills import jobs_of, wait_for

pytestmark = pytest.mark.slow


def samplers(process):
    """Jobs at work below a Snakemake process that make images."""
    return [job for job, rule in jobs_of(process.pid).items() if rule == "generate_samples"]


def without_samples(workflow):
    """Forget all shards of images, keep the models that make them."""
    for path in (*workflow.shards("image"), *workflow.sidecars("image")):
        workflow(path).unlink()


def at_work(workflow, process):
    """A job at work in a shard, with another shard finished."""
    finished = [k for k, path in enumerate(workflow.sidecars("image")) if workflow(path).exists()]
    jobs = samplers(process)
    logs = workflow("results/logs/tiny").glob("generate_samples/*/*.log")
    working = [log for log in logs if "on 1 threads" in log.read_text() and "done in" not in log.read_text()]
    return (finished, jobs) if finished and jobs and working else None


def test_a_killed_run_goes_on_where_it_stopped(finished, copied):
    """A job is killed; then the run that goes on is, with its job, as when a machine loses power."""
    workflow = copied()
    targets = (*workflow.shards("image"), *workflow.sidecars("image"))
    without_samples(workflow)
    before = {}
    for victim in ("job", "run"):
        shutil.rmtree(workflow(f"results/logs/tiny/generate_samples/{workflow.study.store}"))
        process = workflow.begin(*targets, cores=1)
        _, jobs = wait_for(lambda: at_work(workflow, process), process)  # noqa: B023 - called before the next
        if victim == "job":
            for job in jobs:
                job.kill()
            assert process.wait(timeout=300) != 0
        else:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=60)
        kept = [k for k, path in enumerate(workflow.sidecars("image")) if workflow(path).exists()]
        assert 0 < len(kept) < 4
        whole = [paths[k] for paths in (workflow.shards("image"), workflow.sidecars("image")) for k in kept]
        assert before.items() <= workflow.times(whole).items()
        before = workflow.times(whole)
    workflow.run(*targets)
    assert workflow.times(before) == before
    assert workflow.contents(workflow.shards("image")) == finished.contents(finished.shards("image"))


def test_a_job_that_is_killed_before_it_began_has_a_log_that_says_so(copied):
    workflow = copied()
    logs = workflow(f"results/logs/tiny/generate_samples/{workflow.study.store}")
    shutil.rmtree(logs)
    without_samples(workflow)
    process = workflow.begin(workflow.shards("image")[0], cores=1, output=subprocess.PIPE)
    # At once: its imports take seconds, and its log is opened after them.
    for job in wait_for(lambda: samplers(process), process):
        job.kill()
    printed, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    (log,) = logs.glob("*.log")
    assert "it was killed (memory, time, a signal), or it could not start" in log.read_text()
    assert "not found" not in printed
    assert str(log.relative_to(workflow.directory)) in printed


def damage(workflow):
    """One flipped, one truncated, one deleted shard and one deleted sidecar; returns what verification must say."""
    image, embedding = workflow.shards("image"), workflow.shards("embedding")
    flip(workflow(image[1]))
    workflow(image[3]).unlink()
    truncated = workflow(embedding[0])
    truncated.write_bytes(truncated.read_bytes()[:-7])
    workflow(workflow.sidecars("embedding")[2]).unlink()
    images, vectors = (
        f"{workflow.study.samples}/image",
        f"{workflow.study.samples}/{workflow.study.embedding_array}",
    )
    return {
        f"{images}: shard 1 is flipped",
        f"{images}: shard 3 is missing",
        f"{vectors}: shard 0 is truncated",
        f"{vectors}: shard 2 is missing",
    }


def test_verify_finds_exactly_what_is_damaged_and_a_run_repairs_that_alone(finished, copied):
    workflow = copied()
    shards = workflow.shards("t", "image", "embedding")
    sidecars = workflow.sidecars("t", "image", "embedding")
    before = workflow.times((*shards, *sidecars))
    expected = damage(workflow)

    result = workflow.run("verify", cores=1, check=False)
    assert result.returncode != 0
    assert {line for line in result.stdout.splitlines() if ": shard " in line} == expected
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]
    assert "4 results were damaged or missing, and what was damaged is removed; to make them again: " in line
    # The command repeats what was given, from any folder.
    again = f"--directory {workflow.directory} --configfile {workflow.overrides_file} --cores all all "
    assert again in line

    workflow.run(*shards, *sidecars)
    assert workflow.contents(shards) == finished.contents(shards)
    after = workflow.times((*shards, *sidecars))
    touched = {path for path in before if after[path] != before[path]}
    image, embedding = workflow.shards("image"), workflow.shards("embedding")
    images, embeddings = workflow.sidecars("image"), workflow.sidecars("embedding")
    # An embedding whose shard of images was made again is made again too: its sidecar cannot know better.
    repaired = {*(image[k] for k in (1, 3)), *(images[k] for k in (1, 3))}
    assert touched - repaired <= {*embedding, *embeddings}
    assert touched >= repaired | {embedding[0], embedding[2], embeddings[0], embeddings[2]}

    # Of what is whole it changes nothing; a verification of yesterday does not stand for one of today.
    for _ in range(2):
        result = workflow.run("verify", cores=1)
        assert result.stdout.count("4 of 4 shards ok") == 2
        assert result.stdout.count("shards ok") == 3
    assert workflow.times(after) == after


def lose_a_chunk(file):
    (file / "mean" / "c" / "0" / "0").unlink()


def change_the_shape(file):
    metadata = json.loads(file.read_text())
    metadata["shape"][0] //= 2
    file.write_text(json.dumps(metadata))


def edit(file):
    file.write_text(file.read_text().replace('"resolution": ', '"resolution": 1'))


def test_what_verify_removes_of_any_kind_is_made_again_to_the_same_bytes(finished, copied):
    workflow, study = copied(), finished.study
    posterior = "results/tiny/posterior.zarr"
    damages = {
        f"{study.samples}/zarr.json": os.unlink,
        f"{study.samples}/image/zarr.json": change_the_shape,
        f"{study.samples}/{study.embedding_array}/zarr.json": flip,
        study.shards("t")[0]: os.unlink,
        study.shards("embedding")[3]: lambda file: file.write_bytes(b""),
        study.classifier.files[1]: flip,
        "results/tiny/metric.nc": flip,
        "results/tiny/numbers/posterior.json": edit,
        "results/tiny/figures/metric.csv": os.unlink,
    }
    before = {path: path.read_bytes() for path in finished("results").rglob("*") if path.is_file()}
    shards = [*workflow.shards("image"), *workflow.sidecars("image"), *workflow.shards("embedding")[:3]]
    times = workflow.times(shards)
    # A job that reads what is damaged says so, and what to do.
    lose_a_chunk(workflow(posterior))
    result = workflow.run("results/tiny/free_energy.nc", "--forcerun", "fit_free_energy", check=False)
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("hessgeo: ")]
    assert "StoreError: results/tiny/posterior.zarr is not whole: mean/c/0/0 in it is missing" in line
    assert f"--configfile {workflow.overrides_file} --cores all verify" in line
    for path, damage in damages.items():
        damage(workflow(path))
    result = workflow.run("verify", cores=1, check=False)
    assert result.returncode != 0
    for path in (posterior, *damages):
        assert any(path.partition("/c/")[0] in line for line in result.stdout.splitlines()), path
    # All that was lost, and no more: other tests make figures and what they show again.
    workflow.run(posterior, *damages)
    # Metadata and points of the samples were lost, and cost no sample.
    assert workflow.times(shards) == times
    again = workflow.run("--dry-run", posterior, *damages)
    assert "Nothing to be done" in again.stdout + again.stderr
    workflow.run("verify", cores=1)
    for path in (posterior, *damages):
        places = [workflow(path), *workflow(path).rglob("*")]
        for place in (place for place in places if place.is_file() and place.name != ".snakemake_timestamp"):
            assert place.read_bytes() == before[finished(place.relative_to(workflow.directory))], place
