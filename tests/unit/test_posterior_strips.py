"""A posterior whose rows several jobs share is that of one job, to the byte."""

from itertools import chain
from types import SimpleNamespace

import dask.array as da
import numpy as np
import pytest
from pairs import fields

from hessgeo import store
from hessgeo.grids import Grid
from hessgeo.pipeline.checks.sampling import most_posterior_parts
from hessgeo.pipeline.estimation import about_rows, distance_posterior, row_problem, start_rows
from hessgeo.posteriors import read_posterior, strips
from hessgeo.posteriors.distance import distance_rows
from hessgeo.posteriors.row_files import read_start, read_strips, write_start, write_strips
from hessgeo.posteriors.strips import joined_posterior, reduced_strips, share, strip_count
from hessgeo.store import StoreError

GRID = Grid(((-1.0, 2.0), (0.0, 1.0)), (24, 20))
SETTINGS = {
    "kernel": "gaussian", "resolution": "auto", "cells": 17, "quantile": 0.1, "sources": 64, "exclude_self": False,
    "neighbours": 0, "coarse": None, "method": "blocks", "missing": 1e-4, "memory_mb": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(0)
    t = rng.uniform([-1, 0], [2, 1], (1200, 2))
    embedding = np.cos(t @ rng.normal(size=(2, 12)) + rng.uniform(0, 6, 12))
    return (embedding / np.linalg.norm(embedding, axis=1, keepdims=True)).astype("f4"), t


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"kernel": "laplace", "resolution": 30.0, "exclude_self": True, "neighbours": 5, "coarse": [4, 3]},
        {"method": "neighbours"},
        {"method": "neighbours", "exclude_self": True, "neighbours": 5, "coarse": [4, 3]},
    ],
    ids=["blocks", "blocks, all kept", "neighbours", "neighbours, all kept"],
)
def test_parts_are_the_whole_to_the_byte_however_many(samples, main_of, tmp_path, monkeypatch, more):
    # Several blocks a strip, as a large study has.
    monkeypatch.setattr(strips, "STRIPS", 4)
    embedding, t = samples
    settings = SETTINGS | more
    one, numbers = distance_posterior(embedding, t, GRID, settings, seed=3, threads=2, progress=False)
    main_of("start_posterior")(embedding, t, GRID, settings, 3, SimpleNamespace(start=tmp_path / "start.nc"))
    start = read_start(tmp_path / "start.nc")
    assert (start.resolution, start.chosen) == (one.resolution, settings["resolution"] == "auto")
    lazy = da.from_array(embedding, chunks=(500, 12))
    for parts in (1, 3, 4):
        files = [tmp_path / f"{part}-of-{parts}.nc" for part in range(parts)]
        for part, file in enumerate(files):
            # On other threads, and from memory or read in slices.
            given = lazy if part == 1 else embedding
            with row_problem(given, t, GRID, settings, start, threads=1 + part) as problem:
                assert strip_count(problem.blocks) == 4 < problem.blocks
                main_of("estimate_posterior_rows")(
                    problem,
                    part,
                    parts,
                    about_rows(settings, start),
                    SimpleNamespace(rows=file),
                    threads=1 + part,
                )
        output = SimpleNamespace(posterior=tmp_path / "posterior.zarr", numbers=tmp_path / "posterior.json")
        main_of("combine_posterior")(t, start, files, settings, output)
        assert fields(read_posterior(output.posterior)) == fields(one)
        told = store.read_json(output.numbers)
        assert {key: told[key] for key in numbers} == numbers
        assert told["samples"] == 1200


def test_parts_of_another_posterior_or_in_another_order_are_refused(samples, tmp_path):
    embedding, t = samples
    settings = SETTINGS | {"resolution": 40.0}
    start = start_rows(embedding, t, GRID, settings, seed=0)
    about = about_rows(settings, start)
    with row_problem(embedding, t, GRID, settings, start) as problem:
        count = strip_count(problem.blocks)
        first, last = (list(reduced_strips(problem, share(part, 2, count))) for part in range(2))
    assert fields(joined_posterior(chain(first, last), t, **about))["kernel"] == "gaussian"
    with pytest.raises(
        ValueError, match=f"strip {last[0].number} of 1200 samples stands where strip 0 of 1200"
    ):
        joined_posterior(chain(last, first), t, **about)
    with pytest.raises(ValueError, match=f"row of sample {last[0].sources[0]} is in 0 of the strips"):
        joined_posterior(first, t, **about)
    with pytest.raises(ValueError, match="strip 0 of 1200 samples stands where strip 0 of 1199 must"):
        joined_posterior(first, t[1:], **about)
    write_strips(tmp_path / "0-of-2.nc", first, about)
    with pytest.raises(
        StoreError, match=r"0-of-2\.nc holds rows of another posterior: .*40\.0.*, not .*41\.0"
    ):
        next(read_strips([tmp_path / "0-of-2.nc"], about | {"resolution": 41.0}))


def test_the_start_keeps_every_bit_of_the_resolution(tmp_path):
    for resolution in (1 / 3, 1e-3 * np.pi, 9.999999999999999e6):
        write_start(
            tmp_path / "start.nc", start_rows(None, None, GRID, SETTINGS | {"resolution": resolution}, seed=0)
        )
        assert read_start(tmp_path / "start.nc").resolution == resolution


def test_parts_share_all_strips_and_none_is_empty():
    for count in (1, 2, 7, 256):
        for parts in range(1, count + 1):
            shares = [share(part, parts, count) for part in range(parts)]
            assert list(chain(*shares)) == list(range(count))
            assert {len(one) for one in shares} <= {count // parts, count // parts + 1}
    # As many parts as the settings allow, and never more than there are strips, whatever the rows of a block.
    for samples in (64, 256, 257, 65_536, 65_537, 10**6):
        for rows in (1, 100, strips.BLOCK):
            assert 1 <= most_posterior_parts(samples) <= strip_count(-(-samples // rows))


def test_factors_in_a_file_are_those_in_memory_and_take_none(samples, tmp_path):
    embedding, t = samples
    lazy = da.from_array(embedding, chunks=(500, 12))
    settings = {"kernel": "gaussian", "resolution": 40.0, "neighbours": 3, "exclude_self": True}
    inside = distance_rows(embedding, t, **settings)
    outside = distance_rows(lazy, t, **settings, file=tmp_path / "factors.f4")
    assert outside.problem.factors.mapped is not None
    for block in (0, inside.blocks - 1):
        one, other = (problem.reduce(block) for problem in (inside, outside))
        assert {name: value.tobytes() for name, value in one.values.items()} == {
            name: value.tobytes() for name, value in other.values.items()
        }
        assert one.added[0][1].tobytes() == other.added[0][1].tobytes()
    with pytest.raises(ValueError, match="embedding holds values that are not finite"):
        distance_rows(np.where(embedding == embedding[7, 3], np.nan, embedding), t, **settings)
