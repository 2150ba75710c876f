"""Low-dimensional pictures of data from distances in the metric of a density."""

from __future__ import annotations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE, Isomap, smacof, trustworthiness
from sklearn.neighbors import KNeighborsClassifier

from hessgeo.densities.clustering import finite

Distances = Float[np.ndarray, "n n"]
Picture = Float[np.ndarray, "n k"]


def classical_scaling(distances: Distances, *, dimension: int = 2) -> Picture:
    """Classical multidimensional scaling (Torgerson): the best Euclidean picture of the doubly centred squares.

    Exact for distances that are Euclidean in that many dimensions. Axes are those of greatest variance, each
    signed so that its largest entry is positive.

    Raises:
        ValueError: if the distances have fewer positive eigenvalues than dimensions asked for.
    """
    squared = distances**2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    values, vectors = values[::-1][:dimension], vectors[:, ::-1][:, :dimension]
    if not (values > 0).all():
        raise ValueError(f"the distances span fewer than {dimension} Euclidean dimensions")
    largest = vectors[np.abs(vectors).argmax(axis=0), np.arange(dimension)]
    return vectors * np.sign(largest) * np.sqrt(values)


def stress_scaling(distances: Distances, *, dimension: int = 2, seed: int = 0) -> Picture:
    """Metric multidimensional scaling by least stress (SMACOF), started from the classical one."""
    start = classical_scaling(distances, dimension=dimension)
    result, *_ = smacof(
        distances, n_components=dimension, init=start, n_init=1, random_state=seed, normalized_stress=False
    )
    return result


def neighbour_map(distances: Distances, *, perplexity: float = 30.0, seed: int = 0) -> Picture:
    """t-SNE of given distances, in the plane."""
    model = TSNE(
        metric="precomputed", init="random", perplexity=perplexity, random_state=seed, method="barnes_hut"
    )
    return model.fit_transform(distances).astype(float)


def embeddings(
    points: Float[np.ndarray, "n d"], geodesic: Distances, *, neighbours: int = 10, seed: int = 0
) -> dict[str, Picture]:
    """Pictures in the plane from geodesic distances, and from Euclidean ones by the usual methods.

    Args:
        points: the data.
        geodesic: their distances in the metric of a density.
        neighbours: of the graph of Isomap.
        seed: of the methods that draw.
    """
    distances, _ = finite(geodesic)
    euclidean = cdist(points, points)
    return {
        "geodesic, classical": classical_scaling(distances),
        "geodesic, stress": stress_scaling(distances, seed=seed),
        "geodesic, t-SNE": neighbour_map(distances, seed=seed),
        "PCA": PCA(2, random_state=seed).fit_transform(points),
        "Isomap": Isomap(n_neighbors=neighbours).fit_transform(points),
        "Euclidean, t-SNE": neighbour_map(euclidean, seed=seed),
    }


def embedding_scores(
    points: Float[np.ndarray, "n d"],
    labels: Int[np.ndarray, "n"],
    geodesic: Distances,
    pictures: dict[str, Picture],
    *,
    neighbours: int = 10,
) -> pd.DataFrame:
    """What each picture keeps of the data.

    Args:
        points: the data.
        labels: the class of each.
        geodesic: distances in the metric of a density.
        pictures: by name.
        neighbours: of a point, in every score.

    Returns:
        A row a picture: ``picture``; ``trustworthiness`` (Venna and Kaski 2001), which falls where neighbours in
        the picture are none in the data by Euclidean distance, ``geodesic_trustworthiness``, the same by
        geodesic distance, and ``neighbour_accuracy``, the share of points whose class is that of most of their
        neighbours in the picture.
    """
    distances, _ = finite(geodesic)
    rows = []
    for name, picture in pictures.items():
        # A point is no neighbour of its own: one prediction at a time, from all others.
        model = KNeighborsClassifier(neighbours + 1).fit(picture, labels)
        nearest = model.kneighbors(picture, return_distance=False)
        votes = [np.bincount(labels[row[row != k][:neighbours]]).argmax() for k, row in enumerate(nearest)]
        rows.append(
            {
                "picture": name,
                "trustworthiness": trustworthiness(points, picture, n_neighbors=neighbours),
                "geodesic_trustworthiness": trustworthiness(
                    distances, picture, n_neighbors=neighbours, metric="precomputed"
                ),
                "neighbour_accuracy": float(np.mean(np.array(votes) == labels)),
            }
        )
    return pd.DataFrame(rows)
