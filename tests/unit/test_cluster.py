"""Rows of a posterior on a Dask cluster: the same bytes, also where workers are lost."""

import dataclasses
import json
import os
import signal

import numpy as np
import pytest
from pairs import fields

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline import cluster
from hessgeo.pipeline.cluster import RowTask, Scheduler, cluster_posterior, cluster_strips
from hessgeo.pipeline.estimation import about_rows, count_strips, distance_posterior, start_rows
from hessgeo.posteriors.strips import joined_posterior

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (24, 20))
SETTINGS = {
    "kernel": "gaussian", "resolution": "auto", "cells": 17, "quantile": 0.1, "sources": 64, "exclude_self": False,
    "neighbours": 3, "coarse": None, "method": "blocks", "missing": 1e-4, "memory_mb": 1,
}  # fmt: skip


@pytest.fixture
def samples(tmp_path):
    """A store of embedded samples, where workers find it."""
    rng = np.random.default_rng(0)
    t = rng.uniform([-1, 0], [2, 1], (2048, 2))
    embedding = np.cos(t @ rng.normal(size=(2, 12)) + rng.uniform(0, 6, 12))
    embedding = (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype("f4")
    path = tmp_path / "samples" / "points.zarr"
    store.create_samples(path, points=t, arrays={"vectors": ((12,), "f4")}, shard=1024, attributes={})
    for shard in range(2):
        store.write_shard(
            path, "vectors", shard, embedding[store.shard_rows(path, "vectors", shard)], about={}
        )
    return path, embedding, t


@pytest.mark.slow
def test_workers_make_the_same_bytes_and_one_may_die(samples, tmp_path):
    from distributed import LocalCluster

    path, embedding, t = samples
    near = SETTINGS | {"method": "neighbours"}
    given = (embedding, t, GRID)
    one, numbers = distance_posterior(*given, near, seed=0, progress=False)
    place = {"store": str(path), "array": "vectors", "grid": dataclasses.asdict(GRID)}
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=0) as local:
        file = tmp_path / "scheduler.json"
        file.write_text(json.dumps({"address": local.scheduler_address, "workers": {}}))
        found = cluster_posterior(Scheduler(str(file)), place, *given, near, seed=0)
        assert (fields(found[0]), found[1]) == (fields(one), numbers)

        # All pairs, while one of two workers is killed.
        start = start_rows(*given, SETTINGS, seed=0)
        count, killed = count_strips(SETTINGS, start, len(t)), []
        assert count >= 8

        def strips():
            task = RowTask(**place, settings=SETTINGS, start=start)
            for strip in cluster_strips(Scheduler(local.scheduler_address), task, range(count)):
                if not killed:
                    # With it go the strips that it has made, and the one that it is at.
                    with cluster.connected(Scheduler(local.scheduler_address)) as client:
                        killed.extend(client.run(os.getpid).values())
                    os.kill(killed[0], signal.SIGKILL)
                yield strip

        found = joined_posterior(strips(), t, **about_rows(SETTINGS, start))
    assert len(killed) == 2
    one, _ = distance_posterior(*given, SETTINGS, seed=0, progress=False)
    assert fields(found) == fields(one)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("tcp://127.0.0.1:1", "no Dask scheduler answers at 'tcp://127.0.0.1:1' within 1 s"),
        (
            "nowhere.json",
            "'nowhere.json' is not allowed; allowed: a scheduler file of Dask with an address",
        ),
        ("broken.json", "'broken.json' is not allowed; allowed: a scheduler file of Dask with an address"),
    ],
)
def test_a_cluster_that_is_not_there_is_one_line(tmp_path, monkeypatch, place, words):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 1)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.json").write_text("{")
    with (
        pytest.raises(ValueError, match=r"posterior\.scheduler: ") as caught,
        cluster.connected(Scheduler(place)),
    ):
        pass
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(cluster, "import_module", missing)
    line = r"posterior\.scheduler: 'tcp://a:1' needs the extra cluster: pip install 'hessgeo\[cluster\]'"
    with pytest.raises(ValueError, match=line), cluster.connected(Scheduler("tcp://a:1")):
        pass
