"""What the trainings of the baselines share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR
from tqdm import tqdm

WEIGHT_DECAY = 0.01
_BLOCK = 4096  # states that go through a network at once, outside of training

Loss = Callable[[Tensor, torch.Generator], Tensor]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Torch's global stream at a seed, and afterwards where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def minimise(
    module: nn.Module,
    loss: Loss,
    samples: int,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    seed: int,
    progress: bool = False,
) -> list[float]:
    """Train in place by AdamW, the learning rate falling to zero by a cosine; the mean loss of each tenth of the steps.

    Args:
        module: what is trained; in evaluation mode afterwards.
        loss: mean loss of the samples with the given numbers, which may draw from the generator.
        samples: number of them; batches go through all in a random order, then in another.
        steps: of the optimiser.
        batch_size: samples a step, or all of them if they are fewer.
        learning_rate: at the start.
        seed: of order and draws.
        progress: show the loss on a progress bar.

    Raises:
        ValueError: on a number out of range.
        ArithmeticError: if the loss is no longer finite.
    """
    if steps < 1 or batch_size < 2 or not learning_rate > 0:
        raise ValueError(
            "steps must be at least 1, batch_size at least 2 and learning_rate positive, "
            f"not {steps}, {batch_size} and {learning_rate}"
        )
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = CosineAnnealingLR(optimiser, steps)
    batches = _batches(samples, min(batch_size, samples), generator)
    course: list[float] = []
    module.train()
    for step in (bar := tqdm(range(steps), desc="AdamW", unit="step", disable=not progress)):
        value = loss(next(batches), generator)
        optimiser.zero_grad(set_to_none=True)
        value.backward()
        optimiser.step()
        schedule.step()
        course.append(float(value.detach()))
        if not math.isfinite(course[-1]):
            raise ArithmeticError(f"the loss is {course[-1]} at step {step + 1}: lower learning_rate")
        bar.set_postfix(loss=f"{course[-1]:.4f}", refresh=False)
    module.eval()
    return [float(part.mean()) for part in np.array_split(course, 10) if len(part)]


def _batches(samples: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Numbers of samples, ``size`` at a time, each pass in a new order; what is left of a pass begins the next."""
    queue = torch.empty(0, dtype=torch.long)
    while True:
        while len(queue) < size:
            queue = torch.cat([queue, torch.randperm(samples, generator=generator)])
        yield queue[:size]
        queue = queue[size:]


@torch.no_grad()
def in_blocks(module: Callable[..., Tensor], *inputs: Tensor, device: torch.device) -> Tensor:
    """What a module makes of inputs, row by row, as float64 on the CPU; in blocks that fit into memory."""
    parts = zip(*(tensor.split(_BLOCK) for tensor in inputs), strict=True)
    return torch.cat([module(*(part.to(device) for part in block)).double().cpu() for block in parts])


def hold_out(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the samples to train with, and of the share kept for tests, in order.

    Raises:
        ValueError: if one side would be empty.
    """
    test = round(n * share)
    if not 0 < test < n:
        raise ValueError(f"held_out={share} must leave samples of {n} on both sides")
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[test:]), np.sort(order[:test])
