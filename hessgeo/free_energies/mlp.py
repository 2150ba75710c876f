"""The paper's fit: a multilayer perceptron trained on the Jensen-Shannon divergence (Eqs. 21-24)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from hessgeo.free_energies.base import Certificate, FitData, FreeEnergy
from hessgeo.grids import Frame, Grid

_ACTIVATIONS = {"relu": nn.ReLU, "silu": nn.SiLU, "softplus": nn.Softplus}


class MlpFreeEnergy(FreeEnergy):
    """A free energy represented by a perceptron.

    PAPER: a ReLU network is piecewise linear, so its Hessian vanishes wherever it exists. Second and third
    # derivatives are central differences of the gradient over ``step``, one cell of the grid it was trained on.

    Attributes:
        network: ``u -> F``, with ``u`` the parameters in the units of ``frame``: a network sees single precision alone.
        frame: the box in whose units the network was trained.
        step: step of the differences along each parameter.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        frame: Frame,
        step: tuple[float, ...],
        resolution: float,
        certificate: Certificate,
    ) -> None:
        self.network = network
        self.frame = frame
        self.step = step
        self.resolution = resolution
        self.certificate = certificate

    def value(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch"]:
        """``F(t)`` in nats per ``N``."""
        dtype = next(self.network.parameters()).dtype
        return self.network(self.frame.into(t).to(dtype)).squeeze(-1).to(t.dtype)

    def gradient(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """``grad F(t)`` by automatic differentiation."""
        with torch.enable_grad():
            point = t if t.requires_grad else t.detach().requires_grad_(True)
            (slope,) = torch.autograd.grad(self.value(point).sum(), point, create_graph=t.requires_grad)
        return slope

    def hessian(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2"]:
        """Symmetrised central differences of the gradient over ``step``."""
        columns = self._differences(self.gradient, t)
        return (columns + columns.transpose(-1, -2)) / 2

    def third(self, t: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2 2 2"]:
        """Symmetrised central differences of the Hessian over ``step``."""
        slopes = self._differences(self.hessian, t)
        return (slopes + slopes.transpose(-1, -2) + slopes.transpose(-1, -3)) / 3

    def _differences(self, function: Callable[[Tensor], Tensor], t: Tensor) -> Tensor:
        shifts = torch.diag(torch.tensor(self.step, dtype=t.dtype, device=t.device))
        return torch.stack(
            [(function(t + shift) - function(t - shift)) / (2 * shift.sum()) for shift in shifts], dim=-1
        )


def jensen_shannon(
    log_p: Float[Tensor, "row node"], log_q: Float[Tensor, "row node"]
) -> Float[Tensor, "row"]:
    """Jensen-Shannon divergence of each pair of rows, in nats (Eq. 23)."""
    log_m = torch.logaddexp(log_p, log_q) - math.log(2)
    # Where p underflows to zero its log is -inf and 0 * log 0 must count as 0.
    in_p = log_p.exp() * (log_p.clamp(min=-1e30) - log_m)
    in_q = log_q.exp() * (log_q - log_m)
    return (in_p + in_q).sum(dim=-1) / 2


def fit_mlp(
    posterior_matrix: Float[np.ndarray, "source node"],
    sources: Float[np.ndarray, "source 2"],
    grid: Grid,
    *,
    resolution: float,
    steps: int,
    learning_rate: float = 1e-3,
    width: int = 512,
    depth: int = 5,
    activation: str = "relu",
    layer_norm: bool = False,
    batch_size: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: bool = False,
    callback: Callable[[int, float, MlpFreeEnergy], bool] | None = None,
) -> MlpFreeEnergy:
    """Train ``F`` so that ``q_F(.|t_i)`` (Eq. 21, sign corrected) matches the posterior in Jensen-Shannon divergence.

    Args:
        posterior_matrix: ``P(t_g | t_i)``, rows sum to one.
        sources: the ``t_i``.
        grid: the nodes ``t_g``.
        resolution: ``N``.
        steps: Adam steps; the learning rate falls to zero by a cosine.
        learning_rate: of Adam at the start.
        width: of the hidden layers.
        depth: number of hidden layers.
        activation: ``relu`` (the paper), ``silu`` or ``softplus``.
        layer_norm: normalise before each activation, as the published code does and the paper does not say.
        batch_size: sources a step; all of them if None.
        seed: of the weights and the batches.
        device: where to train.
        progress: show the loss on a progress bar.
        callback: called with the step, the seconds so far and the current fit; training ends when it returns True.

    Raises:
        ValueError: if the matrix does not have a row a source and a column a node, or on an unknown activation.
    """
    if posterior_matrix.shape != (len(sources), grid.size):
        raise ValueError(
            f"posterior_matrix has shape {posterior_matrix.shape}, not {(len(sources), grid.size)}"
        )
    if activation not in _ACTIVATIONS:
        raise ValueError(f"activation {activation!r} is not one of {', '.join(_ACTIVATIONS)}")
    generator = torch.Generator().manual_seed(seed)
    network = _perceptron(width, depth, activation, layer_norm, generator).to(device)
    fit = MlpFreeEnergy(network, frame=grid.frame, step=grid.spacing, resolution=resolution, certificate={})
    started = time.perf_counter()

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=torch.float32, device=device)

    log_p, nodes = tensor(posterior_matrix).log(), tensor(grid.unit.points)
    source = tensor(grid.frame.into(np.asarray(sources, dtype=float)))

    def loss(rows: Tensor | slice) -> Tensor:
        point = source[rows].requires_grad_(True)
        (slope,) = torch.autograd.grad(network(point).sum(), point, create_graph=True)
        log_q = torch.log_softmax(resolution * (slope @ nodes.T - network(nodes).squeeze(-1)), dim=1)
        return jensen_shannon(log_p[rows], log_q).mean()

    def batch() -> Tensor | slice:
        few = slice(batch_size)
        return slice(None) if batch_size is None else torch.randperm(len(source), generator=generator)[few]

    def stop(step: int) -> bool:
        return callback is not None and callback(step, time.perf_counter() - started, fit)

    step, last = _adam(network, lambda: loss(batch()), steps, learning_rate, stop, progress)
    fit.certificate.update(
        iterations=step,
        jensen_shannon=last,
        seconds=time.perf_counter() - started,
        # Adam ends after its steps, wherever it is: there is no measure of how far from a minimum.
        converged=False,
        resolved=False,
        verdict="a perceptron's training does not tell how far from its minimum it ends",
    )
    return fit


def _adam(
    network: nn.Module,
    loss: Callable[[], Tensor],
    steps: int,
    learning_rate: float,
    stop: Callable[[int], bool],
    progress: bool,
) -> tuple[int, float]:
    """Adam with a rate that falls to zero by a cosine; the number of steps taken, and the last loss."""
    optimiser = torch.optim.Adam(network.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    value, step = torch.tensor(math.nan), 0
    for step in tqdm(range(1, steps + 1), desc="Adam", disable=not progress):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        optimiser.step()
        schedule.step()
        if stop(step):
            break
    return step, float(value.detach())


def mlp_of_posterior(data: FitData, settings: Mapping[str, Any]) -> MlpFreeEnergy:
    """``fit_mlp`` to the rows of some sources, with the settings ``free_energy.mlp`` of a study."""
    posterior, options = data.posterior, settings["mlp"]
    usable = np.arange(len(posterior.t)) if posterior.row_sources is None else posterior.row_sources
    count = min(options["sources"], len(usable))
    sources = np.sort(np.random.default_rng(data.seed).choice(usable, count, replace=False))
    return fit_mlp(
        data.rows(sources),
        posterior.t[sources],
        posterior.carrier(data.grid),
        resolution=posterior.resolution,
        **{key: options[key] for key in ("width", "depth", "steps", "learning_rate")},
        seed=data.seed,
        device=data.device,
        progress=data.progress,
    )


def _perceptron(
    width: int, depth: int, activation: str, layer_norm: bool, generator: torch.Generator
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for k in range(depth):
        layers.append(nn.Linear(2 if k == 0 else width, width))
        if layer_norm:
            layers.append(nn.LayerNorm(width))
        layers.append(_ACTIVATIONS[activation]())
    layers.append(nn.Linear(width, 1))
    network = nn.Sequential(*layers)
    for module in network:
        if isinstance(module, nn.Linear):
            bound = 1 / math.sqrt(module.in_features)
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    return network
