"""A plan counts what is to do, and its times follow from those of the probe."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hessgeo import store
from hessgeo.features import Embedding
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.plan import Plan, Probe, Timing, parameter_bytes, plan_study, probe_models, time_batches
from hessgeo.pipeline.plan_posterior import posterior_cost
from hessgeo.pipeline.plan_text import duration, format_plans, size
from hessgeo.pipeline.settings import read_settings
from hessgeo.systems.base import System

MIB = 1 << 20


def make_plan(**changes):
    """4,096 images of 512 x 512 x 3 in 64 shards, half of them there."""
    probe = Probe(
        sampling=Timing(batch=8, seconds=2.0, peak_bytes=3_000_000_000),
        embedding=Timing(batch=64, seconds=0.01, peak_bytes=500_000_000),
        batch_size=8,
        parameter_bytes=2_000_000_000,
        compressed_share=0.5,
    )
    fields = {
        "study": "one",
        "device": "cuda",
        "store": "one/samples",
        "array": "embedding/a",
        "image_shape": (512, 512, 3),
        "dimension": 768,
        "shards": 64,
        "shard": 64,
        "sampled": 32,
        "embedded": 16,
        "probe": probe,
    }
    return Plan(**fields | changes)


def test_bytes_and_times_follow_from_counts_and_probe():
    plan = make_plan()
    assert plan.images == 4096
    assert plan.raw_bytes == 4096 * 512 * 512 * 3
    assert plan.compressed_bytes == plan.raw_bytes / 2
    assert plan.embedding_bytes == 4096 * 768 * 4
    assert plan.sampling_seconds == 32 * 64 * 2.0
    assert plan.embedding_seconds == pytest.approx(48 * 64 * 0.01)


def test_a_history_is_every_image_again_and_the_embedding_of_each_prediction():
    plan = make_plan(steps=25, latent=4 * 64 * 64, traced=16)
    each = 512 * 512 * 3 + 2 * 4 * 4 * 64 * 64 + 4 * 768
    assert plan.history_bytes == 4096 * 25 * each
    assert plan.history_seconds == pytest.approx(48 * 64 * (2.0 + 25 * 0.01))
    assert f"25 steps, by the target history alone: {size(plan.history_bytes)} raw" in format_plans([plan])
    assert "history" not in format_plans([make_plan()])
    assert "25 steps, by the target history alone: not known raw, not known to do" in format_plans(
        [make_plan(steps=25, dimension=None, probe=None)]
    )


def test_the_text_says_all_of_it():
    text = format_plans([make_plan()])
    for part in (
        "one on cuda",
        "4,096 of 512 x 512 x 3 in 64 shards of 64",
        "32 sampled, 32 to do",
        "16 embedded, 48 to do",
        "images 3.22 GB raw, about 1.61 GB compressed",
        "embeddings 12.6 MB",
        "models 2 GB",
        "sampling 3 GB more for 8 images",
        "2 s an image (timed on 8 images at once), 2.13 min a shard, 68.3 min to do",
        "10 ms an image (timed on 64 images at once), 640 ms a shard, 30.7 s to do",
        "total of 1 study",
        "1.15 device-hours to do",
    ):
        assert part in text
    # What a bucket takes is not asked of the disk.
    away = format_plans([make_plan()], url="s3://mine/runs")
    assert "disk" not in away
    assert away.count("bucket    images 3.22 GB raw") == 2
    assert "total of 1 study, in the bucket at s3://mine/runs" in away


def test_the_cost_of_a_posterior_is_that_of_its_pairs():
    ticks = iter((0.0, 1024**2 * 1e-8))
    settings = {"kind": "distance", "method": "blocks", "memory_mb": 256}
    cost = posterior_cost(settings, 10**6, 8, clock=lambda: next(ticks))
    assert cost.seconds == pytest.approx(1e12 * 1e-8 / 8)
    # A row of a million doubles for each of the blocks of 256 rows is what blocks cannot do without.
    assert cost.memory_bytes > 8e6 * 10**6 // 256
    text = format_plans([make_plan(posterior=cost)])
    assert "posterior" in text
    assert "by blocks: 1e+12 pairs, time 20.8 min on 8 threads, 31.6 GB of memory" in text
    near = replace(cost, method="neighbours")
    assert near.memory_bytes < 4e8 + 16 * 10**6
    text = format_plans([make_plan(posterior=near)])
    assert "by neighbours: at most 1e+12 pairs, fewer as far as embeddings lie apart" in text
    assert "time at most 20.8 min on 8 threads" in text
    unknown = posterior_cost(settings, 4096, None)
    assert "time not known on 8 threads" in format_plans([make_plan(posterior=unknown)])
    assert posterior_cost({"kind": "network"}, 4096, 8) is None


def test_shared_samples_count_once_in_the_total():
    alone = format_plans([make_plan()]).split("\n\n")[-1].splitlines()[1:]
    shared = format_plans([make_plan(), make_plan(study="two")]).split("\n\n")[-1].splitlines()[1:]
    assert shared == alone
    other = format_plans([make_plan(), make_plan(study="two", array="embedding/b")])
    assert "embeddings 25.2 MB" in other
    assert "8,192" in format_plans([make_plan(), make_plan(study="two", store="two/samples")])


def test_without_a_probe_nothing_is_made_up():
    plan = make_plan(probe=None, note="its models are not trained yet", dimension=None)
    text = format_plans([make_plan(store="other"), plan])
    assert "not known: its models are not trained yet" in text
    assert "embeddings not known" in text
    assert "device-hours" not in text
    assert "not known compressed" not in text


def test_a_smaller_batch_than_the_study_has_is_said():
    probe = make_plan().probe
    smaller = Probe(probe.sampling, probe.embedding, 32, probe.parameter_bytes, probe.compressed_share)
    assert "(timed on 8 images at once, not on 32)" in format_plans([make_plan(probe=smaller)])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (47.2e9, "47.2 GB"), (3e12, "3 TB"), (None, "not known")],
)
def test_sizes(value, text):
    assert size(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0123, "12.3 ms"),
        (42, "42 s"),
        (600, "10 min"),
        (7200, "2 h"),
        (3.6e7, "10,000 h"),
        (None, "not known"),
    ],
)
def test_durations(value, text):
    assert duration(value) == text


class Clock:
    """A clock that only the work moves: five seconds at first, then a fixed time and a time an image."""

    def __init__(self, *, first=5.0, fixed=0.0, image=1.0):
        self.now, self.calls, self.first, self.fixed, self.image = 0.0, [], first, fixed, image

    def run(self, count):
        self.now += self.fixed + self.image * count + (0 if self.calls else self.first)
        self.calls.append(count)

    def time(self, batch_size, budget):
        return time_batches(self.run, batch_size, device="cpu", budget=budget, clock=lambda: self.now)


def test_the_start_does_not_count():
    clock = Clock(first=50.0, fixed=4.0, image=1.0)
    timing = clock.time(8, budget=1000)
    assert (timing.batch, timing.seconds) == (8, 12 / 8)
    assert clock.calls == [1, 1, 8, 8, 8, 8]


def test_a_slow_model_is_timed_on_what_the_budget_allows():
    clock = Clock(image=1.0)
    assert clock.time(64, budget=20).batch == 10
    assert clock.calls == [1, 1, 10, 10, 10]
    clock = Clock(first=5.0, image=100.0)
    timing = clock.time(64, budget=20)
    assert (timing.batch, timing.seconds, clock.calls) == (1, 105.0, [1])


class Blocks(System):
    """Grey images of one value, that of their first parameter; counts its batches."""

    sample_shape, dtype, batch_size = (64, 64, 1), np.dtype("u1"), 16

    def __init__(self):
        self.network = torch.nn.Linear(100, 100, bias=False)
        self.network.also = self.network.weight  # held twice, counted once
        self.sizes = []

    def sample(self, t, index, seed):
        assert len(t) == len(index) == self.batch_size
        self.sizes.append(len(t))
        return np.broadcast_to((255 * t[:, 0]).astype("u1")[:, None, None, None], (len(t), 64, 64, 1)).copy()


class Fixed(Blocks):
    """The same of a network that takes sixteen at once, and nothing else."""

    fixed_batch = 16
    batch_size = property(lambda self: 16)

    def sample(self, t, index, seed):
        self.sizes.append(len(t))
        assert len(t) % 16 == 0, "the probe times whole batches"
        return np.zeros((len(t), 64, 64, 1), "u1")


class Mean(Embedding):
    dimension = 2

    def __init__(self):
        model = torch.nn.Linear(10, 10, bias=False).half()
        self.encode = lambda images: model(images)

    def __call__(self, images):
        return np.ones((len(images), 2), "f4") / np.sqrt(2).astype("f4")


def test_a_probe_draws_batches_of_the_system_and_leaves_it_as_it_was():
    system, points = Blocks(), np.linspace(0, 1, 200).reshape(100, 2)
    probe = probe_models(system, Mean(), points, seed=0, device="cpu", embedding_batch=4, budget=5.0)
    assert system.batch_size == 16
    assert set(system.sizes) == {1, 16}
    assert (probe.batch_size, probe.sampling.batch, probe.embedding.batch) == (16, 16, 4)
    assert probe.sampling.seconds > 0
    assert probe.parameter_bytes == 100 * 100 * 4 + 10 * 10 * 2
    # Sixteen flat images are one chunk of 64 KiB that is nearly nothing.
    assert probe.compressed_share < 0.02


def test_a_network_of_a_fixed_batch_is_probed_in_whole_batches():
    system, points = Fixed(), np.linspace(0, 1, 200).reshape(100, 2)
    probe = probe_models(system, Mean(), points, seed=0, device="cpu", embedding_batch=4, budget=5.0)
    assert set(system.sizes) == {16}
    assert (probe.batch_size, probe.sampling.batch) == (16, 16)


def test_what_fills_up_the_last_batch_is_counted():
    probe = replace(make_plan().probe, batch_size=24)
    plan = make_plan(probe=probe)
    assert plan.drawn == 72
    assert plan.sampling_seconds == 32 * 72 * 2.0
    assert plan.embedding_seconds == pytest.approx(48 * 64 * 0.01)
    text = format_plans([plan])
    assert "72 images are made for 64 of a shard, 12 % for nothing: batches of 24" in text
    assert "for nothing" not in format_plans([make_plan()])


@pytest.fixture
def entry(config, repository, tmp_path, monkeypatch):
    """The default study in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Layout(read_settings(config), repository).studies[0]


def test_a_model_that_is_to_be_trained_is_not_probed(entry):
    plan = plan_study(entry, load_system=None, load_embedding=None, device="cpu")
    assert plan.note == "to be trained first: digits (system), digits (embedding)"
    assert (plan.images, plan.shards, plan.sampled, plan.embedded) == (4096, 4, 0, 0)
    assert "not known: to be trained first" in format_plans([plan])


def test_a_study_is_probed_with_its_own_models_and_its_shards_are_counted(entry, monkeypatch):
    monkeypatch.setattr("hessgeo.pipeline.plan._untrained", lambda entry: [])
    for sidecar in (*entry.sidecars("image")[:3], *entry.sidecars("embedding")[1:2]):
        Path(sidecar).parent.mkdir(parents=True, exist_ok=True)
        Path(sidecar).write_text("{}")
    asked = []

    def load(kind):
        return lambda entry, device: asked.append((entry.name, device)) or kind()

    plan = plan_study(entry, load_system=load(Blocks), load_embedding=load(Mean), device="cpu", budget=1.0)
    assert asked == [("digits", "cpu")] * 2
    assert (plan.sampled, plan.embedded, plan.dimension) == (3, 1, 2)
    assert plan.probe.batch_size == 16
    assert "1 embedded, 3 to do" in format_plans([plan])


def test_parameters_are_found_where_bound_methods_hide_them():
    class Holder:
        components = {"net": torch.nn.Linear(8, 8), "other": None}  # noqa: RUF012

    assert parameter_bytes(Holder()) == (64 + 8) * 4
    assert parameter_bytes(torch.nn.Linear(8, 8).forward) == (64 + 8) * 4
    assert parameter_bytes(len) == 0


def test_the_compressed_share_is_that_of_a_shard(tmp_path):
    smooth = np.cumsum(np.random.default_rng(0).integers(0, 2, (40, 200, 200, 3)), axis=2).astype("u1")
    path = tmp_path / "study" / "samples" / "layout.zarr"
    arrays = {"image": ((200, 200, 3), "u1")}
    store.create_samples(path, points=np.zeros((40, 2)), arrays=arrays, shard=40, attributes={})
    store.write_shard(path, "image", 0, smooth, about={})
    written = store.shard_file(path, "image", 0).stat().st_size
    # The index of a shard and other chunk borders are all that differ.
    assert store.compressed_share(smooth) == pytest.approx(written / smooth.nbytes, rel=0.01)
    assert store.compressed_share(smooth) < 0.9
