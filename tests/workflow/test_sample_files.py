"""Images that are there already go the way of those that a model draws, to the same results."""

import csv

import numpy as np
import pytest
from PIL import Image

from hessgeo import store
from hessgeo.posteriors import read_posterior

pytestmark = pytest.mark.slow


def export(workflow, folder):
    """The images of the study in a file each, and a table of their points, in an order of its own."""
    path = workflow(workflow.study.samples)
    images, t = store.read_array(path, "image"), store.read_array(path, "t")
    folder.mkdir()
    order = np.random.default_rng(0).permutation(len(t))
    with (folder.parent / "points.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["file", "a", "b"])
        for k in order:
            Image.fromarray(images[k, :, :, 0]).save(folder / f"{k}.png")
            table.writerow([f"{k}.png", *map(repr, t[k].tolist())])
    return order


def test_exported_images_give_the_study_again(copied, finished):
    shared = ("seed", "embedding", "posterior", "free_energy", "scan", "figures")
    own = {key: finished.overrides["studies"]["tiny"][key] for key in shared}
    own["system"] = {"kind": "samples", "images": "pictures", "parameters": "points.csv"}
    own["sampling"] = {"shard": 100, "shards_per_job": 3}  # the last of three holds 56
    ready = {**own, "embedding": {"kind": "file", "file": "features.npy"}}
    workflow = copied(run=["own", "ready"], studies={"own": own, "ready": ready})
    order = export(finished, workflow("pictures"))
    embedding = store.read_array(finished(finished.study.samples), finished.study.embedding_array)
    np.save(workflow("features.npy"), 7 * embedding[order].astype(np.float64))
    # Of the one to phases and what shows images, of the other what its features decide.
    with workflow.placed() as layout:
        own = layout.of("own")
        ends = [own.path(name) for name in ("phases.json", "figures/mosaic.csv", "figures/phases.csv")]
        targets = [*ends, "results/ready/posterior.zarr"]
        assert set(ends) < set(own.targets)
        workflow.run(*targets)
        drawn = finished(finished.study.path("phases.json"))
        assert store.read_json(workflow(ends[0])) == store.read_json(drawn)
        for name in ("own", "ready"):
            study = layout.of(name)
            for array in ("t", "image", study.embedding_array):
                there = finished.study.embedding_array if array.startswith("embedding") else array
                found = store.read_array(study.samples, array)
                expected = store.read_array(finished(finished.study.samples), there)
                if name == "own" or array in ("t", "image"):
                    np.testing.assert_array_equal(found, expected)
                else:
                    # Unit vectors in single precision, made unit vectors again.
                    np.testing.assert_allclose(found, expected, atol=1e-7)
            posterior, drawn = (
                read_posterior(workflow(f"results/{one}/posterior.zarr")) for one in (name, "tiny")
            )
            np.testing.assert_allclose(
                posterior.mean, drawn.mean, rtol=0, atol=1e-5 if name == "ready" else 0
            )
        assert not any("inversion" in path or "anchors" in path for path in layout.targets)
    done = workflow.run("--dry-run", *targets)
    assert "Nothing to be done" in done.stdout + done.stderr
