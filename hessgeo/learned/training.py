"""How the networks of the baselines are trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from hessgeo.numerics.training import descend

WEIGHT_DECAY = 0.01

Loss = Callable[[Tensor, torch.Generator], Tensor]


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
        FloatingPointError: if the loss is no longer finite.
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
    module.train()
    course = descend(
        lambda rows: loss(rows, generator), batches, optimiser, schedule,
        steps=steps, label="AdamW", progress=progress,
    )  # fmt: skip
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
