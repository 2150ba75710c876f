"""Batches fit the memory there is, measured and extrapolated."""

import numpy as np
import pytest
import torch

from hessgeo.systems.memory import (
    cgroup_folders,
    cgroup_free,
    fit_batch_size,
    free_memory,
    largest_batch,
    peak_memory,
)

MIB = 1 << 20


class Model:
    """A model that takes 100 bytes and 30 an image, on a device of so many bytes."""

    def __init__(self, capacity, *, curve=0):
        self.capacity, self.curve, self.calls = capacity, curve, []

    def needs(self, batch):
        return 100 + 30 * batch + self.curve * max(0, batch - 2) ** 2

    def __call__(self, batch):
        self.calls.append(batch)
        if self.needs(batch) > self.capacity:
            raise torch.OutOfMemoryError("no room")

    def fit(self, device="cuda", **options):
        def measure(work, _):
            work()
            return self.needs(self.calls[-1])

        return fit_batch_size(self, device=device, free=lambda _: self.capacity, measure=measure, **options)


@pytest.fixture(autouse=True)
def no_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)


@pytest.mark.parametrize(
    ("capacity", "headroom", "limit", "expected"),
    [(400, 1.0, 64, 10), (429, 1.0, 64, 10), (430, 1.0, 64, 11), (800, 0.5, 64, 10), (10**6, 1.0, 24, 24)],
)
def test_memory_is_continued_linearly(capacity, headroom, limit, expected):
    assert Model(capacity).fit(headroom=headroom, limit=limit) == expected


def test_the_first_call_only_warms_up():
    model = Model(400)
    model.fit(device="cpu")
    assert model.calls == [1, 1, 2]


def test_a_batch_that_does_not_run_is_halved():
    model = Model(1000, curve=5)  # linear: 30 images; 15 need 1395, 7 need 435
    assert model.fit(headroom=1.0) == 7
    assert model.calls == [1, 1, 2, 30, 15, 7]


def test_one_image_where_two_do_not_fit_and_none_is_an_error():
    assert Model(150).fit() == 1
    with pytest.raises(torch.OutOfMemoryError):
        Model(120).fit()


@pytest.mark.parametrize(
    ("one", "two", "free", "expected"),
    [
        (50, 50, 500, 10),  # two that seem to take no more
        (50, 40, 500, 10),
        (0, 0, 500, 64),  # too small to be seen
        (500, 900, 100, 1),  # one must be tried
    ],
)
def test_what_is_not_a_rising_line(one, two, free, expected):
    assert largest_batch(one, two, free=free, limit=64) == expected


@pytest.mark.parametrize(("option", "value"), [("limit", 0), ("headroom", 0.0), ("headroom", 1.5)])
def test_options_out_of_range_are_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} is {value}"):
        Model(400).fit(**{option: value})


def test_peak_of_the_process_is_seen_again_and_again():
    peaks = []
    for size in (96, 32):
        with peak_memory("cpu") as peak:
            np.ones(size * MIB, dtype="u1").sum()
        peaks.append(peak.bytes)
    # The smaller one comes second: an old high-water mark would hide it. 8 MiB for what else the process does.
    assert peaks[0] == pytest.approx(96 * MIB, abs=8 * MIB)
    assert peaks[1] == pytest.approx(32 * MIB, abs=8 * MIB)


def test_free_memory_is_what_the_tightest_group_leaves(tmp_path):
    membership = tmp_path / "membership"
    membership.write_text("0::/user/job\n")
    inner = tmp_path / "user" / "job"
    inner.mkdir(parents=True)
    (tmp_path / "user" / "memory.max").write_text("1000\n")
    (tmp_path / "user" / "memory.current").write_text("700\n")
    (tmp_path / "user" / "memory.stat").write_text("anon 400\ninactive_file 100\n")
    (inner / "memory.max").write_text("max\n")
    (inner / "memory.current").write_text("700\n")
    folders = cgroup_folders(tmp_path, membership)
    assert {inner, tmp_path / "user", tmp_path} <= set(folders)
    assert [cgroup_free(folder) for folder in folders if cgroup_free(folder) is not None] == [400]


def test_groups_of_the_first_version_are_read_too(tmp_path):
    membership = tmp_path / "membership"
    membership.write_text("7:cpu:/a\n4:memory:/job\n")
    job = tmp_path / "memory" / "job"
    job.mkdir(parents=True)
    (job / "memory.limit_in_bytes").write_text("500\n")
    (job / "memory.usage_in_bytes").write_text("200\n")
    folders = cgroup_folders(tmp_path, membership)
    assert job in folders
    assert cgroup_free(job) == 300
    assert tmp_path / "a" not in folders


def test_some_memory_is_free_here():
    assert 0 < free_memory("cpu") < 1 << 45
