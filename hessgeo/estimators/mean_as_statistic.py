"""The posterior mean as a statistic (Fearnhead & Prangle 2012; Jiang et al. 2017): a network regressed on ``t``."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from hessgeo.estimators.base import TrainedModule
from hessgeo.grids import Extent
from hessgeo.learned.encoder import StateEncoder, as_input
from hessgeo.learned.samples import Geometry
from hessgeo.learned.training import hold_out, in_blocks, minimise, seeded


class MeanRegression(TrainedModule[StateEncoder]):
    """A network that predicts the parameters of a state, so approximately their posterior mean ``E[t|x]``.

    Attributes:
        module: states to ``t`` in units in which the box is ``[-1, 1]^2``.
        config: the state's shape and geometry, the box, settings, and ``skill``, the share of the variance of each
            held-out parameter that is explained.
    """

    kind = "regression of the mean"

    @staticmethod
    def build(config: dict[str, Any]) -> StateEncoder:
        """See ``TrainedModule``."""
        return StateEncoder(tuple(config["shape"]), config["geometry"], 2, **config["encoder"])

    def __call__(self, states: Shaped[np.ndarray, "n *sample"]) -> Float[np.ndarray, "n 2"]:
        """``E[t|x]`` of each state, in the units of ``t``."""
        centre, half = _box(self.config["extent"])
        return centre + half * in_blocks(self.module, as_input(states), device=self.device).numpy()


def train_mean_regression(
    states: Shaped[np.ndarray, "n *sample"],
    t: Float[np.ndarray, "n 2"],
    extent: Extent,
    geometry: Geometry,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    encoder: dict[str, int],
    held_out: float = 0.1,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
) -> MeanRegression:
    """Regress the parameters on the states by least squares (Lobashev et al., Eq. 117).

    The minimum of ``E |t - h(x)|^2`` is the posterior mean ``E[t|x]`` under the uniform prior over the samples. Each
    parameter counts relative to its side of the box.

    Args:
        states: spins or occupations.
        t: their parameters.
        extent: the box.
        geometry: how the sites lie.
        steps: of the optimiser.
        batch_size: samples a step.
        learning_rate: of AdamW at the start.
        encoder: ``width``, ``layers`` and ``hidden`` of the ``StateEncoder``.
        held_out: share of the samples kept for the skill.
        seed: of the split, the weights and the batches.
        device: where to train.
        progress: show a progress bar.

    Raises:
        ValueError: on settings out of range.
        ArithmeticError: if the loss is no longer finite.
    """
    start = time.perf_counter()
    train, test = hold_out(len(t), held_out, seed)
    x, (centre, half) = as_input(states), _box(extent)
    target = torch.from_numpy((t - centre) / half).float()
    config: dict[str, Any] = {
        "shape": list(states.shape[1:]), "geometry": geometry, "encoder": dict(encoder),
        "extent": [list(side) for side in extent], "seed": seed, "samples": len(t), "held_out": held_out,
        "steps": steps, "batch_size": batch_size, "learning_rate": learning_rate,
    }  # fmt: skip
    with seeded(seed):
        network = MeanRegression.build(config).to(device)
    rows = torch.from_numpy(train)

    def loss(batch: Tensor, generator: torch.Generator) -> Tensor:
        chosen = rows[batch]
        return nn.functional.mse_loss(network(x[chosen].to(device)), target[chosen].to(device))

    course = minimise(
        network, loss, len(rows),
        steps=steps, batch_size=batch_size, learning_rate=learning_rate, seed=seed, progress=progress,
    )  # fmt: skip
    predicted = in_blocks(network, x[test], device=torch.device(device)).numpy()
    error = ((predicted - target[test].numpy()) ** 2).mean(axis=0)
    skill = 1 - error / target[test].numpy().var(axis=0)
    config.update(losses=course, skill=skill.tolist(), seconds=time.perf_counter() - start)
    return MeanRegression(network, config)


def _box(extent: Any) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Centre and half sides."""
    low, high = np.array(extent, dtype=float).T
    return (low + high) / 2, (high - low) / 2
