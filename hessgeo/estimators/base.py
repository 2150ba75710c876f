"""What every estimator of a free energy or a Fisher metric takes, and the estimates that potentials imply."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from hessgeo.estimators.estimate import Estimate
from hessgeo.free_energies.base import FreeEnergy
from hessgeo.learned.samples import Samples
from hessgeo.metrics.curvature import thermodynamic_curvature
from hessgeo.metrics.diagnostics import positive_definite
from hessgeo.store import load_network, write_network

Part = TypeVar("Part", bound=nn.Module)
Whole = TypeVar("Whole", bound="TrainedModule")


class TrainedPart(Protocol):
    """A network that estimators share, once it is trained."""

    def save(self, folder: str | Path) -> None:
        """Write weights, configuration and what the training reports of itself."""

    @classmethod
    def load(cls, folder: str | Path, *, device: str) -> TrainedPart:
        """Read what ``save`` wrote."""


@dataclass(frozen=True)
class TrainedModule(ABC, Generic[Part]):
    """Trained weights, and all that is said of them; read and written together.

    Attributes:
        module: the network, or several.
        config: what it is built of, the settings of its training, and its figures on held-out samples.
    """

    kind: ClassVar[str]  # what it is, for messages

    module: Part
    config: dict[str, Any]

    @staticmethod
    @abstractmethod
    def build(config: dict[str, Any]) -> Part:
        """The module of a configuration, its weights drawn from torch's global stream."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.module.parameters()).device

    def save(self, folder: str | Path) -> None:
        """Write ``model.safetensors`` and ``config.json``."""
        write_network(folder, self.module.state_dict(), self.config)

    @classmethod
    def load(cls: type[Whole], folder: str | Path, *, device: str = "cpu") -> Whole:
        """Read what ``save`` wrote.

        Raises:
            FileNotFoundError: if there is nothing.
            ValueError: if it is not that.
        """

        def read(weights: dict[str, Tensor], config: dict[str, Any]) -> Whole:
            module = cls.build(config)
            module.load_state_dict(weights)
            return cls(module.to(device).eval(), config)

        return load_network(folder, read, kind=cls.kind)


@dataclass(frozen=True)
class Run:
    """Where and how an estimate is made, whatever the estimator.

    Attributes:
        seed: of what is random in it.
        device: where it runs.
        progress: show progress bars.
    """

    seed: int = 0
    device: str = "cpu"
    progress: bool = False


def pull_back(
    free_energy: FreeEnergy, samples: Samples, numbers: Mapping[str, Any] | None = None
) -> Estimate:
    """The estimate that a potential in natural parameters implies in those of the study.

    With ``J = d natural / d t`` the gradient is ``J' grad F`` and the metric ``J' (grad^2 F) J``: the metric is that
    of the natural parameters seen in others, not the Hessian of ``F`` in the others.
    """
    points = samples.grid.points
    jacobian = samples.coordinates.jacobian(points)
    natural = torch.from_numpy(samples.coordinates.natural(points))
    value, slope = free_energy.value(natural).detach().numpy(), free_energy.gradient(natural).detach().numpy()
    bend = free_energy.hessian(natural).detach()
    curvature, definite = np.full(len(points), np.nan), positive_definite(bend.numpy())
    curvature[definite] = thermodynamic_curvature(
        bend[definite], free_energy.third(natural[definite]).detach()
    )
    return Estimate(
        value=value,
        gradient=np.einsum("nij,ni->nj", jacobian, slope),
        metric=np.swapaxes(jacobian, 1, 2) @ bend.numpy() @ jacobian,
        metric_error=_error(free_energy, natural, torch.from_numpy(jacobian)),
        curvature=curvature,
        numbers=dict(numbers or {}),
    )


def in_study(free_energy: FreeEnergy, samples: Samples, numbers: Mapping[str, Any] | None = None) -> Estimate:
    """The estimate that a potential of the study's own parameters implies: its Hessian is the metric."""
    points = torch.from_numpy(samples.grid.points)
    value, slope, bend = (
        part(points).detach().cpu().numpy()
        for part in (free_energy.value, free_energy.gradient, free_energy.hessian)
    )
    return Estimate(
        value=value,
        gradient=slope,
        metric=bend,
        metric_error=_error(free_energy, points),
        numbers=dict(numbers or {}),
    )


def _error(
    free_energy: FreeEnergy, t: torch.Tensor, jacobian: torch.Tensor | None = None
) -> Float[np.ndarray, "n 2 2"] | None:
    """Standard errors of the metric; None where the fit knows none."""
    return free_energy.hessian_error(t, jacobian).numpy() if free_energy.knows_errors else None
