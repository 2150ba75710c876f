"""What a run would take: images, disk, memory and time, from a probe of a few images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import Module

from hessgeo.features import load_embedding
from hessgeo.features.base import Embedding
from hessgeo.grids import Grid, parameter_points
from hessgeo.pipeline.loading import load_system
from hessgeo.pipeline.plan_posterior import PosteriorCost, posterior_cost
from hessgeo.pipeline.study_layout import StudyLayout
from hessgeo.store import compressed_share, read_npy
from hessgeo.systems.base import System
from hessgeo.systems.batches import padded_count
from hessgeo.systems.memory import peak_memory
from hessgeo.systems.slices import random_anchors

REPEATS = 3  # timed batches, at most


@dataclass(frozen=True)
class Timing:
    """What a model took in a probe.

    Attributes:
        batch: images at once.
        seconds: an image, the median over the batches after the first.
        peak_bytes: most memory of a batch above that of the loaded models.
    """

    batch: int
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Probe:
    """What the models of a study took for a few images.

    Attributes:
        sampling: time and memory of the system.
        embedding: the same of the embedding.
        batch_size: images that the system would work on at once; more than in the probe if that is slow.
        parameter_bytes: parameters and buffers of both models.
        compressed_share: bytes of the probe's images on disk over those in memory.
    """

    sampling: Timing
    embedding: Timing
    batch_size: int
    parameter_bytes: int
    compressed_share: float


@dataclass(frozen=True)
class Plan:
    """What a study takes.

    Attributes:
        study: its name.
        device: where its models run.
        store: its sample store, which another study may share.
        array: its embedding in that store.
        image_shape: (H, W, C) of an image.
        dimension: of the embedding; None if it is not known yet.
        shards: shards of the images, and as many of the embedding.
        shard: images of each.
        sampled: shards of images that are there.
        embedded: shards of the embedding that are there.
        probe: what its models took for a few images, or None.
        note: why there was no probe.
        posterior: what the posterior of embedding distances takes, or None of another.
        steps: steps that the target ``history`` keeps; 0 of a study without one.
        latent: values of a latent.
        traced: shards of whose history all is there.
    """

    study: str
    device: str
    store: str
    array: str
    image_shape: tuple[int, int, int]
    dimension: int | None
    shards: int
    shard: int
    sampled: int
    embedded: int
    probe: Probe | None = None
    note: str = ""
    posterior: PosteriorCost | None = None
    steps: int = 0
    latent: int = 0
    traced: int = 0

    @property
    def images(self) -> int:
        """Number of images."""
        return self.shards * self.shard

    @property
    def drawn(self) -> int | None:
        """Images that are made for a shard: those that fill up its last batch, too."""
        return None if self.probe is None else padded_count(self.shard, self.probe.batch_size)

    @property
    def raw_bytes(self) -> int:
        """All images, a byte a value."""
        return self.images * prod(self.image_shape)

    @property
    def compressed_bytes(self) -> float | None:
        """All images on disk, if they compress like those of the probe."""
        return None if self.probe is None else self.raw_bytes * self.probe.compressed_share

    @property
    def embedding_bytes(self) -> int | None:
        """All embeddings, four bytes a value."""
        return None if self.dimension is None else 4 * self.images * self.dimension

    @property
    def sampling_seconds(self) -> float | None:
        """Device time of the shards of images that are to do."""
        return self._seconds(self.shards - self.sampled, "sampling", self.drawn)

    @property
    def embedding_seconds(self) -> float | None:
        """Device time of the shards of the embedding that are to do."""
        return self._seconds(self.shards - self.embedded, "embedding", self.shard)

    @property
    def history_bytes(self) -> int | None:
        """Predicted images, states and predicted latents, and embeddings of all steps; None if that is not known."""
        if self.dimension is None:
            return None
        return self.images * self.steps * (prod(self.image_shape) + 2 * 4 * self.latent + 4 * self.dimension)

    @property
    def history_seconds(self) -> float | None:
        """Device time of the history that is to do: every image once more, and the embedding of each prediction."""
        left = self.shards - self.traced
        seconds = [self._seconds(left, "sampling", self.drawn), self._seconds(left, "embedding", self.shard)]
        if seconds[0] is None or seconds[1] is None:
            return None
        return seconds[0] + self.steps * seconds[1]

    def _seconds(self, shards: int, part: str, images: int | None) -> float | None:
        if self.probe is None or images is None:
            return None
        return shards * images * getattr(self.probe, part).seconds


# --- the probe ---


def probe_models(
    system: System,
    embedding: Embedding,
    points: Float[np.ndarray, "n d"],
    *,
    seed: int,
    device: str,
    embedding_batch: int,
    budget: float = 30.0,
) -> Probe:
    """Draw and embed a few images, and measure what that takes.

    Args:
        system: the loaded system.
        embedding: the loaded embedding.
        points: parameter points of the study; the probe takes some spread over all of them.
        seed: seed of the study.
        device: where the models are.
        embedding_batch: images embedded at once.
        budget: seconds for each of the two; where a batch would take longer a smaller one is timed.
    """
    drawn: list[UInt8[np.ndarray, "n h w c"]] = []
    batch_size, fixed = getattr(system, "batch_size", 1), getattr(system, "fixed_batch", None)

    def draw(count: int) -> None:
        index = np.linspace(0, len(points) - 1, count).astype(int)
        # A system fills up its batches, so that a smaller one needs to be its size.
        if fixed is None and hasattr(system, "batch_size"):
            system.batch_size = count
        drawn[:] = [system.sample(points[index], index, seed)]

    try:
        sampling = time_batches(draw, batch_size, device=device, budget=budget, least=fixed or 1)
    finally:
        if fixed is None and hasattr(system, "batch_size"):
            system.batch_size = batch_size
    images = drawn[0]
    embedded = time_batches(
        lambda count: embedding(np.resize(images, (count, *images.shape[1:]))),
        embedding_batch,
        device=device,
        budget=budget,
    )
    return Probe(
        sampling=sampling,
        embedding=embedded,
        batch_size=batch_size,
        parameter_bytes=parameter_bytes(system) + parameter_bytes(embedding),
        compressed_share=compressed_share(images),
    )


def time_batches(
    run: Callable[[int], object],
    batch_size: int,
    *,
    device: str,
    budget: float,
    least: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time of an image: one to warm up, one to see how large a batch the budget allows, then batches of that.

    A network that takes a fixed number at once is timed on that number throughout.

    Args:
        run: works on that many images.
        batch_size: images at once in the study.
        device: where.
        budget: seconds; what is started within them is ended.
        least: images that it works on at once at least.
        clock: seconds.
    """

    def seconds(count: int) -> float:
        start = clock()
        run(count)
        return clock() - start

    with peak_memory(device) as peak:
        single = seconds(least)
    if single >= budget:
        return Timing(least, single / least, peak.bytes)
    single = seconds(least) / least
    batch = min(batch_size, max(least, int(budget / (2 * max(single, 1e-9)))))
    with peak_memory(device) as peak:
        seconds(batch)
    times = [seconds(batch)]
    while len(times) < REPEATS and sum(times) + times[-1] <= budget:
        times.append(seconds(batch))
    return Timing(batch, median(times) / batch, peak.bytes)


def parameter_bytes(model: object) -> int:
    """Bytes of all parameters and buffers that a system or an embedding holds."""
    tensors: dict[int, Tensor] = {}
    for module in _modules(model, set()):
        tensors |= {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def _modules(value: Any, seen: set[int]) -> Iterator[Any]:
    """Modules that a value holds: in its attributes, in the parts of a pipeline, in what a function binds."""
    if id(value) in seen or isinstance(value, type):
        return
    seen.add(id(value))
    held: list[Any] = []
    if isinstance(value, Module):
        yield value
    elif isinstance(parts := getattr(value, "components", None), dict):
        held = list(parts.values())
    elif callable(value) or isinstance(value, System) or type(value).__module__.startswith("hessgeo."):
        closure = (cell.cell_contents for cell in getattr(value, "__closure__", None) or ())
        held = [getattr(value, "__self__", None), *closure, *getattr(value, "__dict__", {}).values()]
    for part in held:
        yield from _modules(part, seen)


# --- a study ---


def plan_study(
    entry: StudyLayout,
    *,
    load_system: Callable[[StudyLayout, str], System],
    load_embedding: Callable[[StudyLayout, str], Embedding],
    device: str,
    budget: float = 30.0,
) -> Plan:
    """What is there of a study and what it still takes; its models are probed unless they are to be trained first.

    Args:
        entry: the study.
        load_system: loads its system on a device.
        load_embedding: loads its embedding on a device.
        device: where to probe.
        budget: as in ``probe_models``.
    """
    study = entry.setting()
    plan = Plan(
        study=entry.name,
        device=device,
        store=entry.samples,
        array=entry.embedding_array,
        image_shape=entry.image_shape,
        dimension=None,
        shards=entry.shard_count("image"),
        shard=study["sampling"]["shard"],
        sampled=_count_there(entry.sidecars("image")),
        embedded=_count_there(entry.sidecars("embedding")),
        posterior=posterior_cost(study["posterior"], entry.count, None),
        steps=0 if entry.history_need else len(entry.history_steps),
        latent=0 if entry.history_need else prod(entry.latent_shape),
        traced=_count_there(entry.sidecars("features")),
    )
    if entry.is_own or study["embedding"]["kind"] == "file":
        return replace(plan, note="images or features are there already, no model is probed")
    if untrained := _untrained(entry):
        return replace(plan, note=f"to be trained first: {', '.join(untrained)}")
    embedding = load_embedding(entry, device)
    points = parameter_points(study["sampling"]["design"], Grid(**entry.grid), entry.count, study["seed"])
    probe = probe_models(
        load_system(entry, device),
        embedding,
        points,
        seed=study["seed"],
        device=device,
        embedding_batch=study["embedding"]["batch_size"],
        budget=budget,
    )
    cost = posterior_cost(study["posterior"], entry.count, embedding.dimension)
    return replace(plan, dimension=embedding.dimension, probe=probe, posterior=cost)


def _untrained(entry: StudyLayout) -> list[str]:
    """Embedded models of the study whose files are not there yet."""
    needed = {"system": entry.system_model, "embedding": entry.embedding_model}
    return [
        f"{entry.setting(part, 'checkpoint')} ({part})"
        for part, model in needed.items()
        if _count_there(model.awaited) < len(model.awaited)
    ]


def _count_there(files: Sequence[str]) -> int:
    return sum(Path(file).is_file() for file in files)


def load_study_system(study: StudyLayout, device: str) -> System:
    """The system of a study; of anchors that are not made yet, random ones stand in."""
    made = Path(study.anchor_file("anchors"))
    seed, shard = study.setting("seed"), study.setting("sampling", "shard")
    anchors = read_npy(made) if made.is_file() else random_anchors(seed, study.latent_shape)
    source = study.system
    with source.reading() as model:
        options = {"device": device, "most": shard, "model": model}
        return load_system(source.settings, str(source.path), anchors, study.setting("slice"), **options)


def load_study_embedding(study: StudyLayout, device: str) -> Embedding:
    """The embedding of a study."""
    source = study.embedder
    return load_embedding(source.settings, source.path, study.image_shape, device=device)
