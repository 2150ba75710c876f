"""What every training of a network does: seeds, a split of the samples, one loop, and reading in blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from tqdm import trange

_BLOCK = 4096  # samples that go through a network at once, outside of training

Batch = TypeVar("Batch")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global stream at a seed, and afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def descend(
    loss: Callable[[Batch], Tensor | tuple[Tensor, Tensor]],
    batches: Iterable[Batch],
    optimiser: Optimizer,
    schedule: LRScheduler,
    *,
    steps: int,
    label: str,
    progress: bool = False,
    after: Callable[[], object] | None = None,
) -> list[float]:
    """Follow an optimiser and its schedule; the loss of every step.

    Args:
        loss: of a batch, or a pair: what is reported, and what is made least.
        batches: at least as many as steps; each is drawn when the step before it is done.
        optimiser: of the weights, which change in place.
        schedule: of its learning rate.
        steps: of both.
        label: of the progress bar.
        progress: show the loss on a progress bar.
        after: called after each step.

    Raises:
        FloatingPointError: if the loss is no longer finite.
    """
    course: list[float] = []
    with trange(steps, desc=label, unit="step", disable=not progress) as bar:
        for step, batch in zip(bar, batches, strict=False):
            found = loss(batch)
            reported, least = found if isinstance(found, tuple) else (found, found)
            optimiser.zero_grad(set_to_none=True)
            least.backward()
            optimiser.step()
            schedule.step()
            if after is not None:
                after()
            course.append(float(reported.detach()))
            if not math.isfinite(course[-1]):
                raise FloatingPointError(f"the loss is {course[-1]} at step {step + 1}: lower learning_rate")
            bar.set_postfix(loss=f"{course[-1]:.4f}", refresh=False)
    return course


def drawn(samples: int, size: int, generator: torch.Generator) -> Iterator[Int[Tensor, "size"]]:
    """Numbers of samples, drawn with replacement, without end."""
    while True:
        yield torch.randint(samples, (size,), generator=generator)


@torch.no_grad()
def in_blocks(module: Callable[..., Tensor], *inputs: Tensor, device: torch.device) -> Tensor:
    """What a module makes of inputs, row by row, as float64 on the CPU; in blocks that fit into memory."""
    parts = zip(*(tensor.split(_BLOCK) for tensor in inputs), strict=True)
    return torch.cat([module(*(part.to(device) for part in block)).double().cpu() for block in parts])


def split_samples(
    n: int, *, held_out: float, seed: int
) -> tuple[Int[np.ndarray, "train"], Int[np.ndarray, "test"]]:
    """Random split of ``n`` samples into those to train with and the share ``held_out`` to test with, each in order.

    Raises:
        ValueError: if the share does not lie within 0..1, or leaves no sample on one side.
    """
    test = round(n * held_out)
    if not 0 < held_out < 1 or not 0 < test < n:
        raise ValueError(
            f"held_out={held_out} must lie between 0 and 1 and leave samples of {n} on both sides"
        )
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[test:]), np.sort(order[:test])
