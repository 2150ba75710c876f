"""The two routes from samples to a posterior, as the scripts take them."""

import json
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest

from hessgeo.grids import Grid
from hessgeo.pipeline import estimation
from hessgeo.pipeline.study_layout import NETWORK_TRAINING
from hessgeo.posteriors import posterior, read_posterior
from hessgeo.posteriors.bundles import resize_images

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (8, 9))
NETWORK = {
    "size": "tiny", "grid": None, "bundle": 2, "neighbours": 4, "smoothing": 0.05, "epochs": 1, "batch_size": 16,
    "learning_rate": 1e-3, "held_out": 0.25, "draws": 2, "rows": 10,
}  # fmt: skip
DISTANCE = {
    "kernel": "gaussian", "resolution": 20.0, "cells": 5, "quantile": 0.1, "sources": 20, "exclude_self": False,
    "neighbours": 0, "coarse": None, "method": "blocks", "missing": 1e-6, "memory_mb": 64,
}  # fmt: skip


@pytest.fixture
def samples():
    rng = np.random.default_rng(0)
    low, high = np.array(GRID.extent).T
    return rng.integers(0, 256, (48, 12, 10, 3), dtype="u1"), rng.uniform(low, high, (48, 2))


def test_images_in_a_file_are_the_same_and_leave_nothing(samples):
    images, _ = samples
    with estimation.resized_images(da.from_array(images, chunks=(16, 12, 10, 3)), GRID.shape) as small:
        np.testing.assert_array_equal(small, resize_images(images, GRID.shape))
        file = small.filename
        assert file.exists()
    assert not file.exists()


def test_a_network_is_trained_stored_and_judged(samples, main_of, tmp_path):
    images, t = samples
    lazy = da.from_array(images, chunks=(16, 12, 10, 3))
    output = SimpleNamespace(weights=str(tmp_path / "net" / "model.safetensors"))
    training = {key: NETWORK[key] for key in NETWORK_TRAINING if key != "grid"}
    main_of("train_posterior_network")(lazy, t, GRID, training, 3, output)
    result, numbers = estimation.trained_posterior(tmp_path / "net", lazy, t, NETWORK, seed=3)
    output = SimpleNamespace(
        posterior=str(tmp_path / "posterior.zarr"), numbers=str(tmp_path / "posterior.json")
    )
    main_of("estimate_posterior")(result, numbers, output)
    written = json.loads((tmp_path / "posterior.json").read_text())
    assert (written["resolution"], written["kernel"], written["samples"]) == (2.0, "network", 48)
    # The smoothing, 0.05 of sides 3 and 1, is less than half a step of the grid: half a step it is.
    assert written["sigma"] == [pytest.approx(3 / 14), pytest.approx(1 / 16)]
    assert written["largest_metric"][0] == pytest.approx(1 / (2 * (3 / 14) ** 2))
    assert written["calibration"]["held_out"]["bundles"] == 12
    assert written["calibration"]["held_out"]["nll_uniform"] == pytest.approx(np.log(72))
    again = read_posterior(tmp_path / "posterior.zarr")
    assert again.rows.shape == (10, 72)
    assert again.carrier(Grid(GRID.extent, (5, 5))) == GRID


def test_a_posterior_from_distances_is_the_one_of_the_library(samples):
    images, t = samples
    embedding = images.reshape(48, -1)[:, :8].astype("f4") / 255
    result, numbers = estimation.distance_posterior(embedding, t, GRID, DISTANCE, seed=0)
    direct = posterior(embedding, t, resolution=20.0)
    np.testing.assert_array_equal(result.mean, direct.mean)
    assert numbers == {"chosen": False}
    chosen, numbers = estimation.distance_posterior(
        embedding, t, GRID, DISTANCE | {"resolution": "auto", "coarse": [3, 4]}, seed=0
    )
    assert numbers == {"chosen": True}
    assert chosen.coarse.shape == (48, 3, 4)


def test_a_posterior_by_neighbours_reads_the_store_in_parts(samples):
    _, t = samples
    embedding = np.random.default_rng(1).normal(size=(48, 8)).astype("f4")
    settings = DISTANCE | {"method": "neighbours", "resolution": 4.0}
    whole, numbers = estimation.distance_posterior(embedding, t, GRID, settings, seed=0)
    lazy = da.from_array(embedding, chunks=(10, 8))
    parts, _ = estimation.distance_posterior(lazy, t, GRID, settings, seed=0)
    assert parts.mean.tobytes() == whole.mean.tobytes()
    assert parts.marginal.tobytes() == whole.marginal.tobytes()
    assert set(numbers) == {
        "chosen", "missing_largest", "missing_99", "seen_share", "seen_median", "seen_largest"
    }  # fmt: skip
    assert 0 <= numbers["missing_99"] <= numbers["missing_largest"] <= 1e-6
