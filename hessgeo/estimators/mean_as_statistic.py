"""The posterior mean as a statistic (Fearnhead & Prangle 2012; Jiang et al. 2017): a network regressed on ``t``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from hessgeo.estimators.base import Run, TrainedModule
from hessgeo.estimators.estimate import Estimate
from hessgeo.estimators.integration import integrated
from hessgeo.learned.encoder import StateEncoder, as_input
from hessgeo.learned.samples import Samples
from hessgeo.learned.training import minimise
from hessgeo.numerics.training import in_blocks, seeded, split_samples


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
    samples: Samples,
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
        samples: states and their parameters.
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
        FloatingPointError: if the loss is no longer finite.
    """
    start = time.perf_counter()
    train, test = split_samples(len(samples.t), held_out=held_out, seed=seed)
    x, (centre, half) = as_input(samples.states), _box(samples.grid.extent)
    target = torch.from_numpy((samples.t - centre) / half).float()
    config: dict[str, Any] = {
        "shape": list(samples.states.shape[1:]), "geometry": samples.geometry, "encoder": dict(encoder),
        "extent": [list(side) for side in samples.grid.extent], "seed": seed, "samples": len(samples.t),
        "held_out": held_out,
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


def mean_as_statistic(
    samples: Samples, trained: MeanRegression, settings: Mapping[str, Any], run: Run
) -> Estimate:
    """The predicted parameters as statistics, integrated to a potential of the study's parameters.

    With the map ``none``, the paper's way: ``grad F`` is fitted to ``E[t|x]`` as it is, in units of ``t``, so that
    ``F`` has a scale of its own and its Hessian is no metric in nats. With ``response`` the two statistics are first
    mapped to those conjugate to ``t`` by ``response_map``, which gives them scale and mixture from the data alone.
    """
    skill = {"skill": trained.config["skill"]}
    return integrated(samples, trained(samples.states), settings, skill)


def _box(extent: Any) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
    """Centre and half sides."""
    low, high = np.array(extent, dtype=float).T
    return (low + high) / 2, (high - low) / 2
