"""Interpolation between handwritten digits in the metric of a density, judged by a diffusion model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import xarray as xr
from jaxtyping import Float, Int
from sklearn.mixture import GaussianMixture as MixtureFit
from torch import Tensor

from hessgeo.densities.base import Density
from hessgeo.densities.embedding import embedding_scores, embeddings
from hessgeo.densities.flow import fit_flow
from hessgeo.densities.interpolation import PrincipalSpace, interpolate, path_log_prob
from hessgeo.densities.mixtures import GaussianMixture, kernel_density
from hessgeo.geodesics.graphs import geodesic_graph, neighbour_edges
from hessgeo.models.digits import Digits

PATHS = ("straight", "graph", "geodesic")


def fit_mixture(points: Float[Tensor, "n d"], *, components: int, floor: float, seed: int) -> GaussianMixture:
    """Gaussian mixture with full covariances by expectation maximisation (scikit-learn).

    Args:
        points: the data.
        components: number of clouds.
        floor: added to the variances of each cloud, in squared units of the data: without it clouds collapse.
        seed: of the start.
    """
    model = MixtureFit(components, reg_covar=floor, random_state=seed).fit(points.numpy())
    return GaussianMixture(*map(torch.from_numpy, (model.weights_, model.means_, model.covariances_)))


def fit_density(
    points: Float[Tensor, "n d"], kind: str, *, seed: int, clouds: int, floor: float, flow_steps: int
) -> Density:
    """A density of data by one of the estimators.

    Args:
        points: the data.
        kind: ``mixture`` (``fit_mixture``), ``kernel`` (``kernel_density``) or ``flow`` (``fit_flow``).
        seed: of an estimator that draws.
        clouds: of a mixture.
        floor: of the variances of a mixture.
        flow_steps: optimiser steps of a flow, on data with a tenth of their spread as noise.

    Raises:
        ValueError: on another kind.
    """
    estimators: Mapping[str, Callable[[], Density]] = {
        "mixture": lambda: fit_mixture(points, components=clouds, floor=floor, seed=seed),
        "kernel": lambda: kernel_density(points),
        "flow": lambda: fit_flow(points, steps=flow_steps, noise=0.1, seed=seed),
    }
    if kind not in estimators:
        raise ValueError(f"kind is {kind!r}, must be one of {', '.join(estimators)}")
    return estimators[kind]()


def digit_coordinates(
    digits: Digits, components: int
) -> tuple[PrincipalSpace, Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """The principal components of the training digits, and the coordinates of these and of the held-out ones.

    Ink runs from -1 (paper) to 1, as for the diffusion model.
    """
    train, test = (part.images.reshape(len(part), -1) / 127.5 - 1 for part in (digits.train, digits.test))
    space = PrincipalSpace(train, components)
    return space, space.encode(train), space.encode(test)


def unlike_pairs(labels: Int[np.ndarray, "n"], count: int, seed: int) -> Int[np.ndarray, "count 2"]:
    """Pairs of different points with different labels, drawn at random."""
    generator = np.random.default_rng(seed)
    pairs: list[np.ndarray] = []
    while len(pairs) < count:
        pair = generator.choice(len(labels), 2, replace=False)
        if labels[pair[0]] != labels[pair[1]]:
            pairs.append(pair)
    return np.array(pairs)


def compare_paths(
    space: PrincipalSpace,
    points: Float[Tensor, "n d"],
    labels: Int[np.ndarray, "n"],
    density: Density,
    judge: Density,
    *,
    held_out: Float[Tensor, "m d"],
    pairs: int,
    quantile: float,
    neighbours: int,
    shape: tuple[int, int],
    count: int = 9,
    refined: int = 33,
    seed: int = 0,
) -> xr.Dataset:
    """Straight, graph and geodesic paths between digits, their images, and how likely these are.

    The ends are data points of different classes. The judge has not set the metric: it tells whether paths that
    are likely under one model are so under another.

    Args:
        space: coordinates of the images.
        points: coordinates of the data, nodes of the graph.
        labels: the class of each.
        density: of the coordinates, which sets the metric.
        judge: a density of flat images on the scale of ``space``.
        held_out: coordinates whose densities set ``lam`` and ``p0``, for at the points that ``density`` was fitted to
            it is too large.
        pairs: number of pairs.
        quantile: of ``p`` that becomes ``lam``.
        neighbours: of each node of the graph.
        shape: height and width of an image, whose values lie in [-1, 1].
        count: images on each path, ends included.
        refined: points while a path is refined.
        seed: of the pairs.

    Returns:
        ``image (pair, path, step, h, w)`` as ``uint8``; ``length``, ``mean_log_prob``, ``least_log_prob``,
        ``mean_model_log_prob`` and ``least_model_log_prob`` by (pair, path), over the inner images, in nats;
        ``vertices``, ``converged``, ``first_label`` and ``last_label`` by pair; of the graph, ``components``,
        ``unreachable_pairs`` and ``edges`` as attributes.
    """
    metric = density.metric_of(held_out, quantile=quantile)
    array = points.numpy()
    graph = geodesic_graph(array, neighbour_edges(array, neighbours), metric)
    # Of the largest component, since only there a path is sure to exist.
    largest = np.flatnonzero(graph.components == np.bincount(graph.components).argmax())
    chosen = largest[unlike_pairs(labels[largest], pairs, seed)]
    columns: dict[str, list] = {name: [] for name in (
        "image", "length", "mean_log_prob", "least_log_prob", "mean_model_log_prob", "least_model_log_prob", "vertices",
        "converged",
    )}  # fmt: skip
    for source, target in chosen:
        # 1e-4: the paths are drawn, and the metric of many dimensions is stiff.
        found = interpolate(
            graph, metric, source, target, count=count, refined=refined, tolerance=1e-4, max_iterations=600
        )
        paths = [getattr(found, name) for name in PATHS]
        images = torch.stack([space.decode(path) for path in paths]).clamp(-1, 1)
        columns["image"].append(
            ((images + 1) * 127.5).round().to(torch.uint8).numpy().reshape(3, count, *shape)
        )
        likely = np.array([path_log_prob(density, path) for path in paths])
        judged = np.array([path_log_prob(judge, path) for path in images])
        columns["length"].append(found.lengths)
        for name, values in (("", likely), ("model_", judged)):
            columns[f"mean_{name}log_prob"].append(values[:, 0])
            columns[f"least_{name}log_prob"].append(values[:, 1])
        columns["vertices"].append(found.vertices)
        columns["converged"].append(found.converged)
    dims = {"image": ("pair", "path", "step", "h", "w"), "vertices": ("pair",), "converged": ("pair",)}
    fields: dict[str, Any] = {
        name: (dims.get(name, ("pair", "path")), np.stack(values)) for name, values in columns.items()
    }
    fields["first_label"] = ("pair", labels[chosen[:, 0]])
    fields["last_label"] = ("pair", labels[chosen[:, 1]])
    about = {
        "edges": graph.edge_count, "components": graph.component_count, "unreachable_pairs": graph.unreachable_pairs,
        "explained_variance": space.explained, "log_p0_over_lam": metric.log_p0 - metric.log_lam,
    }  # fmt: skip
    return xr.Dataset(fields, coords={"path": list(PATHS)}, attrs=about)


def embed_points(
    points: Float[Tensor, "n d"],
    labels: Int[np.ndarray, "n"],
    density: Density,
    *,
    held_out: Float[Tensor, "m d"],
    quantile: float,
    neighbours: int,
    seed: int = 0,
) -> xr.Dataset:
    """Pictures of data in the plane from geodesic and from Euclidean distances, with their scores.

    Args:
        points: coordinates of the data, nodes of the graph.
        labels: the class of each.
        density: of the coordinates, which sets the metric.
        held_out: coordinates whose densities set ``lam`` and ``p0``.
        quantile: of ``p`` that becomes ``lam``.
        neighbours: of each node of the graph, and in every score.
        seed: of the methods that draw.

    Returns:
        ``picture (method, node, axis)``, ``label (node)`` and the scores of ``embedding_scores`` by method.
    """
    metric = density.metric_of(held_out, quantile=quantile)
    array = points.numpy()
    graph = geodesic_graph(array, neighbour_edges(array, neighbours), metric)
    distances = graph.distances(np.arange(len(array)))
    pictures = embeddings(array, distances, neighbours=neighbours, seed=seed)
    scores = embedding_scores(array, labels, distances, pictures, neighbours=neighbours)
    fields = {name: ("method", scores[name].to_numpy()) for name in scores.columns.drop("picture")}
    return xr.Dataset(
        {
            "picture": (("method", "node", "axis"), np.stack(list(pictures.values()))),
            "label": ("node", labels),
            **fields,
        },
        coords={"method": list(pictures)},
        attrs={"components": graph.component_count, "unreachable_pairs": graph.unreachable_pairs},
    )
