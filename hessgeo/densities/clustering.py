"""Clusters from distances in the metric of a density, beside those from Euclidean ones."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from sklearn.cluster import AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.metrics import adjusted_rand_score
from torch import Tensor

from hessgeo.densities.base import Density
from hessgeo.geodesics.graphs import MetricGraph, connecting_radius, epsilon_edges, geodesic_graph

Distances = Float[np.ndarray, "n n"]
Labels = Int[np.ndarray, "n"]


def density_graph(
    points: Float[Tensor, "n d"],
    density: Density,
    *,
    quantile: float,
    radius: float = 1.5,
    nodes: int | None = None,
) -> MetricGraph:
    """The epsilon-graph of points in the metric of a density, ``epsilon`` as a multiple of the connecting radius.

    Args:
        points: the data, which also set ``lam`` and ``p0``.
        density: ``p``.
        quantile: of ``p`` over the data that becomes ``lam``.
        radius: ``epsilon`` over the least one that connects all points; connected from 1 on.
        nodes: of the quadrature along each edge; None for adaptive quadrature.
    """
    metric = density.metric_of(points, quantile=quantile)
    array = points.cpu().numpy()
    edges = epsilon_edges(array, radius * connecting_radius(array))
    return geodesic_graph(array, edges, metric, nodes=nodes, device=str(points.device))


def finite(distances: Distances) -> tuple[Distances, int]:
    """Distances with twice the largest finite one where there is no path, and the number of such pairs."""
    missing = np.isinf(distances)
    if not missing.any():
        return distances, 0
    return np.where(missing, 2 * distances[~missing].max(), distances), int(missing.sum()) // 2


def affinity(distances: Distances, *, neighbours: int = 20) -> Distances:
    """1 for two points of which each is among the other's nearest, 1/2 where one of them is, else nearly 0.

    Only the order of distances counts. Affinities that fall with the distance need a scale, and none served clusters
    of equal and of unequal density alike (fifteen sets, 600 points each): one scale for all cut the outskirts off
    dense clouds, each point's own joined spirals over their gap.

    Raises:
        ValueError: on less than one neighbour, or not fewer than there are points.
    """
    n = len(distances)
    if not 1 <= neighbours < n:
        raise ValueError(f"neighbours is {neighbours}, must be between 1 and {n - 1}")
    nearest = np.argsort(distances, axis=1, kind="stable")[:, : neighbours + 1]
    matrix = np.zeros((n, n))
    np.put_along_axis(matrix, nearest, 1.0, axis=1)
    # No entry is zero: parts without a link would count as clusters, whatever the number asked for.
    return np.maximum((matrix + matrix.T) / 2, 1e-9)


def agglomerate(distances: Distances, clusters: int, *, linkage: str = "average") -> Labels:
    """Agglomerative clusters of given distances."""
    model = AgglomerativeClustering(clusters, metric="precomputed", linkage=linkage)
    return model.fit_predict(finite(distances)[0])


def spectral(distances: Distances, clusters: int, *, neighbours: int = 20, seed: int = 0) -> Labels:
    """Spectral clusters of given distances, by who is near whom (``affinity``)."""
    model = SpectralClustering(
        clusters, affinity="precomputed", assign_labels="cluster_qr", random_state=seed
    )
    return model.fit_predict(affinity(finite(distances)[0], neighbours=neighbours))


def medoids(distances: Distances, clusters: int, *, seed: int = 0, starts: int = 10) -> Labels:
    """Clusters about the points with the least sum of distances to their own (k-medoids by alternation).

    Of several starts, each with medoids drawn as k-means++ draws its centres, the one of least total distance.
    """
    distances = finite(distances)[0]
    generator = np.random.default_rng(seed)
    best, least = np.zeros(len(distances), dtype=int), np.inf
    for _ in range(starts):
        chosen = [int(generator.integers(len(distances)))]
        while len(chosen) < clusters:
            weight = distances[chosen].min(axis=0) ** 2
            chosen.append(int(generator.choice(len(distances), p=weight / weight.sum())))
        centres = np.array(chosen)
        for _ in range(100):
            labels = distances[centres].argmin(axis=0)
            moved = centres.copy()
            for k in range(clusters):
                own = np.flatnonzero(labels == k)
                if len(own):
                    moved[k] = own[distances[np.ix_(own, own)].sum(axis=1).argmin()]
            if (moved == centres).all():
                break
            centres = moved
        total = distances[centres].min(axis=0).sum()
        if total < least:
            best, least = distances[centres].argmin(axis=0), total
    return best


def cluster_scores(
    points: Float[Tensor, "n d"],
    labels: Labels,
    densities: Mapping[str, Density],
    *,
    quantile: float,
    radius: float = 1.5,
    neighbours: int = 20,
    seed: int = 0,
) -> pd.DataFrame:
    """Adjusted Rand index of clusters from Euclidean distances and from those of densities.

    Every method that reads distances reads all of them in turn, so that a gain is the distance's alone; k-means,
    which reads coordinates, stands beside.

    Args:
        points: the data.
        labels: the true cluster of each.
        densities: by name.
        quantile: of ``p`` over the data that becomes ``lam``.
        radius: ``epsilon`` over the connecting radius.
        neighbours: of a point in the affinity.
        seed: of the methods that draw starts.

    Returns:
        A row per distance and method: ``distance``, ``method``, ``ari``, and the graph's ``edges``,
        ``components`` and ``unreachable_pairs``.
    """
    array = points.cpu().numpy()
    k = int(labels.max()) + 1
    means = KMeans(k, n_init=10, random_state=seed).fit_predict(array)
    rows = [{"distance": "Euclidean", "method": "k-means", "ari": adjusted_rand_score(labels, means)}]
    tables: dict[str, tuple[Distances, dict[str, int]]] = {"Euclidean": (cdist(array, array), {})}
    for name, density in densities.items():
        graph = density_graph(points, density, quantile=quantile, radius=radius)
        about = {
            "edges": graph.edge_count,
            "components": graph.component_count,
            "unreachable_pairs": graph.unreachable_pairs,
        }
        tables[name] = graph.distances(np.arange(len(array))), about
    for name, (distances, about) in tables.items():
        found = {
            "agglomerative": agglomerate(distances, k),
            "spectral": spectral(distances, k, neighbours=neighbours, seed=seed),
            "medoids": medoids(distances, k, seed=seed),
        }
        rows += [
            {"distance": name, "method": method, "ari": adjusted_rand_score(labels, result), **about}
            for method, result in found.items()
        ]
    return pd.DataFrame(rows)


def summarise(scores: pd.DataFrame) -> pd.DataFrame:
    """Scores over the seeds of each data set.

    Args:
        scores: rows of ``cluster_scores`` with the columns ``dataset`` and ``seed``.

    Returns:
        A row per data set, distance and method: ``ari`` (mean), ``ari_sd`` (NaN for one seed), ``ari_least`` and
        ``seeds``.
    """
    groups = scores.groupby(["dataset", "distance", "method"], sort=False)["ari"]
    return groups.agg(ari="mean", ari_sd="std", ari_least="min", seeds="size").reset_index()
