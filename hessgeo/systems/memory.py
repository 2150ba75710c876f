"""How much memory a model takes, how much there is, and how many images fit into it at once."""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import torch

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Of a group's memory: version 2, then version 1. Both name the file pages that can be dropped alike.
LIMIT_AND_USE = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))


@dataclass
class PeakMemory:
    """Memory that a block of code took above what was in use before it.

    Attributes:
        bytes: the peak; zero until the block ends.
    """

    bytes: int = 0


@contextmanager
def peak_memory(device: str) -> Iterator[PeakMemory]:
    """Measure the most memory that a ``with`` block takes at once, above what is in use when it begins.

    On a GPU these are torch's own allocations. On a CPU it is the resident memory of the whole process; where
    the kernel does not let its high-water mark be reset, only what exceeds every earlier peak is seen.
    """
    peak = PeakMemory()
    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        yield peak
        torch.cuda.synchronize(device)
        peak.bytes = max(0, torch.cuda.max_memory_allocated(device) - before)
    else:
        _release_heap()
        before = _reset_high_water()
        yield peak
        peak.bytes = max(0, _high_water() - before)


def _release_heap() -> None:
    """Give what the C library keeps of freed memory back, since it would hide what is allocated anew."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def _reset_high_water() -> int:
    """Set the mark to the memory in use; returns the mark, in bytes."""
    clear = Path("/proc/self/clear_refs")
    try:
        clear.write_text("5", encoding="ascii")
    except OSError:
        # The mark stays where it was: what follows is measured from there.
        return _high_water()
    return min(_high_water(), psutil.Process().memory_info().rss)


def _high_water() -> int:
    """Most resident memory of the process since the mark was set, in bytes."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="ascii").splitlines() if status.is_file() else []
    for line in lines:
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return mark if sys.platform == "darwin" else 1024 * mark


def free_memory(device: str) -> int:
    """Bytes that the process can still allocate; on a CPU no more than its control groups leave it."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(device)[0]
    within = [cgroup_free(folder) for folder in cgroup_folders()]
    return min([psutil.virtual_memory().available, *(free for free in within if free is not None)])


def device_name(device: str) -> list[str | int]:
    """What the memory that a model takes depends on beside the model: the device, its memory, and torch."""
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(device)
        return [properties.name, properties.total_memory, torch.__version__]
    return ["cpu", psutil.virtual_memory().total, torch.__version__]


def cgroup_folders(root: Path = CGROUPS, membership: Path = MEMBERSHIP) -> list[Path]:
    """The folders of the memory control groups that the process is in, the outer ones included."""
    if not membership.is_file():
        return []
    folders = [root, root / "memory"]
    for line in membership.read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or "memory" in controllers.split(","):
            top = root / "memory" if controllers else root
            inner = top / path.lstrip("/")
            folders += [place for place in (inner, *inner.parents) if top in place.parents]
    return folders


def cgroup_free(folder: Path) -> int | None:
    """Bytes that a control group leaves, dropped file pages counted as free; None where it sets no limit."""
    for limit_name, use_name in LIMIT_AND_USE:
        limit, use = folder / limit_name, folder / use_name
        if limit.is_file() and use.is_file() and (most := limit.read_text(encoding="ascii").strip()) != "max":
            statistics = folder / "memory.stat"
            lines = statistics.read_text(encoding="ascii").splitlines() if statistics.is_file() else []
            counts = dict(line.split() for line in lines)
            droppable = int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
            return max(0, int(most) - int(use.read_text(encoding="ascii")) + droppable)
    return None


def largest_batch(one: int, two: int, *, free: int, limit: int) -> int:
    """Largest number of images whose memory, a straight line through that of one and of two, is free.

    Args:
        one: bytes that one image takes.
        two: bytes that two take; where they seem to take no more, each is taken to need as much as the first.
        free: bytes that may be taken.
        limit: most images.

    Returns:
        A number between 1 and ``limit``.
    """
    more = two - one if two > one else one
    if more <= 0:
        return limit
    return int(min(max(1 + (free - one) // more, 1), limit))


def fit_batch_size(
    run: Callable[[int], object],
    *,
    device: str,
    limit: int = 64,
    headroom: float = 0.85,
    free: Callable[[str], int] = free_memory,
    measure: Callable[[Callable[[], object], str], int] | None = None,
    known: dict[str, int] | None = None,
) -> int:
    """Number of images that a model can work on at once, from the memory that one and two of them take.

    After a warm-up the two are measured and continued linearly to ``headroom`` of the free memory. On a GPU the
    result is then tried, and halved until it runs. On a CPU it is not: a machine without memory does not say
    so, it swaps or kills.

    Args:
        run: works on that many images, in full size; one step of a sampler and one decoding are enough.
        device: where it does.
        limit: most images.
        headroom: share of the free memory to use.
        free: how to find the free memory.
        measure: how to find the peak memory of a call, in bytes.
        known: what an earlier fit of the same model on the same device found, which is not measured again: the bytes
            of ``one`` image and of ``two``, and how many images ``ran`` at once. What is found here is put into it.

    Raises:
        ValueError: if ``limit`` is not positive or ``headroom`` outside (0, 1].
        torch.OutOfMemoryError: if not even one image fits.
    """
    if limit < 1:
        raise ValueError(f"limit is {limit}, must be at least 1")
    if not 0 < headroom <= 1:
        raise ValueError(f"headroom is {headroom}, must be above 0 and at most 1")
    known = {} if known is None else known
    if "one" not in known:
        run(1)
        known |= _measured(run, device, measure or _measure)
    # Two that do not fit take more than there is.
    available = int(headroom * free(device))
    two = known.get("two", known["one"] + available + 1)
    batch = largest_batch(known["one"], two, free=available, limit=limit)
    ran = known.get("ran", 2)
    while batch > ran and device.startswith("cuda") and not _runs(run, batch):
        batch //= 2
    known["ran"] = max(ran, batch)
    return batch


def _measured(
    run: Callable[[int], object], device: str, measure: Callable[[Callable[[], object], str], int]
) -> dict[str, int]:
    one = measure(lambda: run(1), device)
    try:
        return {"one": one, "two": measure(lambda: run(2), device)}
    except torch.OutOfMemoryError:
        return {"one": one}


def _measure(work: Callable[[], object], device: str) -> int:
    with peak_memory(device) as peak:
        work()
    return peak.bytes


def _runs(run: Callable[[int], object], batch: int) -> bool:
    try:
        run(batch)
    except torch.OutOfMemoryError:
        # Said by the return value; outside of this block nothing of the failed call is held any more.
        fits = False
    else:
        fits = True
    if not fits:
        gc.collect()
        torch.cuda.empty_cache()
    return fits
