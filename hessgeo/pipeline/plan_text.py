"""The plans of studies as text, for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hessgeo.pipeline.checks.sampling import THREADS
from hessgeo.pipeline.plan import Plan, Timing
from hessgeo.pipeline.plan_posterior import PosteriorCost


def format_plans(plans: Sequence[Plan], *, url: str | None = None) -> str:
    """All plans as text, a paragraph a study and one for their total.

    Args:
        plans: one a study.
        url: of the bucket that takes images and embeddings; None of a disk.
    """
    room = "disk" if url is None else "bucket"
    paragraphs = ["\n".join(_study_lines(plan, room)) for plan in plans]
    heading, *total = _total_lines(plans, room)
    total.insert(0, heading if url is None else f"{heading}, in the bucket at {url}")
    return "\n\n".join([*paragraphs, "\n".join(total)]) + "\n"


def _study_lines(plan: Plan, room: str) -> Iterator[str]:
    shape = " x ".join(map(str, plan.image_shape))
    yield f"{plan.study} on {plan.device}"
    yield _line("images", f"{plan.images:,} of {shape} in {plan.shards:,} shards of {plan.shard:,}")
    yield _line("shards", f"{plan.sampled:,} sampled, {plan.shards - plan.sampled:,} to do")
    yield _line("", f"{plan.embedded:,} embedded, {plan.shards - plan.embedded:,} to do")
    if plan.posterior is not None:
        yield _line("posterior", _pairs(plan.posterior))
    if plan.steps:
        kept, taken = size(plan.history_bytes), duration(plan.history_seconds)
        yield _line("history", f"{plan.steps} steps, by the target history alone: {kept} raw, {taken} to do")
    probe = plan.probe
    packed = "" if probe is None else f", about {size(plan.compressed_bytes)} compressed as the probe's are"
    yield _line(room, f"images {size(plan.raw_bytes)} raw{packed}")
    yield _line("", f"embeddings {size(plan.embedding_bytes)}")
    if probe is None:
        yield _line("time", f"not known: {plan.note}")
        return
    yield _line("memory", f"models {size(probe.parameter_bytes)}")
    yield _line("", f"sampling {size(probe.sampling.peak_bytes)} more for {_count(probe.sampling.batch)}")
    yield _line("", f"embedding {size(probe.embedding.peak_bytes)} more for {_count(probe.embedding.batch)}")
    drawn = plan.drawn or plan.shard
    yield _line("sampling", _rate(probe.sampling, drawn, plan.sampling_seconds, probe.batch_size))
    if drawn > plan.shard:
        share = f"{100 * (drawn / plan.shard - 1):.2g} % for nothing"
        yield _line(
            "",
            f"{drawn:,} images are made for {plan.shard:,} of a shard, {share}: batches of {probe.batch_size}",
        )
    yield _line("embedding", _rate(probe.embedding, plan.shard, plan.embedding_seconds))


def _pairs(cost: PosteriorCost) -> str:
    """A posterior by its method: time on the threads of its job, and memory."""
    pairs = f"{cost.samples**2:.3g} pairs"
    if cost.method == "neighbours":
        pairs = f"at most {pairs}, fewer as far as embeddings lie apart"
    most = "at most " if cost.method == "neighbours" and cost.seconds is not None else ""
    taken = f"{most}{duration(cost.seconds)} on {THREADS} threads, {size(cost.memory_bytes)} of memory"
    return f"by {cost.method}: {pairs}, time {taken}"


def _rate(timing: Timing, shard: int, left: float | None, batch_size: int | None = None) -> str:
    timed = f"timed on {_count(timing.batch)} at once"
    if batch_size is not None and batch_size != timing.batch:
        timed += f", not on {batch_size}"
    per_shard = duration(timing.seconds * shard)
    return f"{duration(timing.seconds)} an image ({timed}), {per_shard} a shard, {duration(left)} to do"


def _total_lines(plans: Sequence[Plan], room: str) -> Iterator[str]:
    """Studies that share samples, or an embedding, count once."""
    sampled = {plan.store: plan for plan in plans}.values()
    embedded = {(plan.store, plan.array): plan for plan in plans}.values()
    yield f"total of {len(plans)} {'study' if len(plans) == 1 else 'studies'}"
    yield _line("images", f"{sum(plan.images for plan in sampled):,}")
    packed = _sum([plan.compressed_bytes for plan in sampled])
    more = "" if packed is None else f", about {size(packed)} compressed"
    yield _line(room, f"images {size(sum(plan.raw_bytes for plan in sampled))} raw{more}")
    yield _line("", f"embeddings {size(_sum([plan.embedding_bytes for plan in embedded]))}")
    seconds = [plan.sampling_seconds for plan in sampled] + [plan.embedding_seconds for plan in embedded]
    left = _sum(seconds)
    hours = "not known" if left is None else f"{left / 3600:.2f} device-hours to do"
    yield _line("time", f"{hours}; jobs that run side by side share them")


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _line(name: str, text: str) -> str:
    return f"  {name:<10}{text}"


def _count(images: int) -> str:
    return "1 image" if images == 1 else f"{images:,} images"


def size(count: float | None) -> str:
    """Bytes in decimal units, ``not known`` for None."""
    if count is None:
        return "not known"
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:,.3g} TB"


def duration(seconds: float | None) -> str:
    """A time in the unit that suits it, ``not known`` for None."""
    if seconds is None:
        return "not known"
    for unit, length, most in (("ms", 1e-3, 1), ("s", 1, 100), ("min", 60, 6000)):
        if seconds < most:
            return f"{seconds / length:.3g} {unit}"
    return f"{seconds / 3600:,.3g} h" if seconds < 3.6e6 else f"{seconds / 3600:,.0f} h"
