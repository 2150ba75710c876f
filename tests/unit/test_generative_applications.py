"""Clusters, embeddings, interpolation and the experiments of geodesics of densities."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from sklearn.metrics import adjusted_rand_score

from hessgeo.densities.clustering import (
    affinity,
    agglomerate,
    cluster_scores,
    density_graph,
    finite,
    medoids,
    spectral,
    summarise,
)
from hessgeo.densities.digit_paths import (
    compare_paths,
    digit_coordinates,
    embed_points,
    fit_density,
    fit_mixture,
    unlike_pairs,
)
from hessgeo.densities.embedding import classical_scaling, embedding_scores, stress_scaling
from hessgeo.densities.experiments import affinity_maps, epsilon_graphs, lambda_sweep
from hessgeo.densities.interpolation import PrincipalSpace, interpolate, path_log_prob
from hessgeo.densities.mixtures import kernel_density
from hessgeo.densities.toys import HORSESHOE_BOX, HORSESHOE_ENDS, TOYS, horseshoe, moons
from hessgeo.geodesics.chains import straight_path
from hessgeo.geodesics.graphs import epsilon_edges, geodesic_graph
from hessgeo.models.digits import load_digits

ENDS = torch.tensor(HORSESHOE_ENDS, dtype=torch.float64)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Clusters.


# Fewer points are harder to tell apart, and of spirals too few.
@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("circles", 300),
        pytest.param("moons", 300, marks=pytest.mark.slow),
        pytest.param("spirals", 600, marks=pytest.mark.slow),
    ],
)
def test_geodesic_distances_find_clusters_that_k_means_does_not(name, count):
    toy = TOYS[name](count, 0)
    scores = cluster_scores(toy.points, toy.labels, {"kernel": kernel_density(toy.points)}, quantile=0.0)
    ari = scores.set_index(["distance", "method"])["ari"]
    assert ari["kernel", "spectral"] >= 0.95  # the figures to reach
    assert ari["Euclidean", "k-means"] < 0.6
    assert (scores["components"].dropna() == 1).all()


def separate(seed=0):
    """Distances of three tight groups, and who is in which."""
    labels = np.arange(60) % 3
    points = 10 * np.eye(3)[labels] + 0.1 * normal(60, 3, seed=seed).numpy()
    return cdist(points, points), labels


@pytest.mark.parametrize(
    "method",
    [lambda d, k: agglomerate(d, k), lambda d, k: spectral(d, k, neighbours=10), lambda d, k: medoids(d, k)],
)
def test_every_method_finds_separate_groups_with_or_without_a_path_between(method):
    distances, labels = separate()
    assert adjusted_rand_score(labels, method(distances, 3)) == 1
    cut = np.where(distances > 5, np.inf, distances)
    assert adjusted_rand_score(labels, method(cut, 3)) == 1
    order = np.random.default_rng(0).permutation(60)
    assert adjusted_rand_score(labels[order], method(distances[np.ix_(order, order)], 3)) == 1


def test_missing_paths_are_counted_and_made_far():
    distances, missing = finite(np.array([[0.0, 1.0, np.inf], [1.0, 0.0, np.inf], [np.inf, np.inf, 0.0]]))
    assert missing == 2
    assert distances[0, 2] == 2


def test_an_affinity_counts_who_is_near_whom():
    distances = cdist(*2 * [np.array([[0.0], [1.0], [3.0]])])
    expected = [[1, 1, 0], [1, 1, 0.5], [0, 0.5, 1]]  # 0 and 1 choose each other, 3 chooses 1
    np.testing.assert_allclose(affinity(distances, neighbours=1), expected, atol=1e-8)
    np.testing.assert_array_equal(affinity(distances**3, neighbours=1), affinity(distances, neighbours=1))


def test_a_summary_has_a_row_a_set_distance_and_method():
    toy = moons(120, 0)
    estimate = {"kernel": kernel_density(toy.points)}
    one = cluster_scores(toy.points, toy.labels, estimate, quantile=0.0, neighbours=10)
    table = summarise(one.assign(dataset="moons", seed=0))
    assert table["ari"].tolist() == one["ari"].tolist()
    assert (table["seeds"] == 1).all()


# Embeddings.


def test_classical_scaling_returns_points_of_the_plane_up_to_a_motion():
    points = normal(30, 2).numpy()
    distances = cdist(points, points)
    for picture in (classical_scaling(distances), stress_scaling(distances)):
        np.testing.assert_allclose(
            cdist(picture, picture), distances, atol=1e-3
        )  # SMACOF stops at 1e-6 of stress
    with pytest.raises(ValueError, match="fewer than 3 Euclidean dimensions"):
        classical_scaling(cdist(np.eye(3), np.eye(3)), dimension=3)


def test_scores_are_perfect_for_the_data_themselves_and_poor_for_a_shuffle():
    distances, labels = separate()
    points = 10 * np.eye(3)[labels] + 0.1 * normal(60, 3).numpy()
    pictures = {"same": points, "shuffled": np.random.default_rng(0).permutation(points)}
    scores = embedding_scores(points, labels, distances, pictures, neighbours=5).set_index("picture")
    assert (scores.loc["same"] == 1).all()
    assert scores.loc["shuffled", "trustworthiness"] < 0.7
    assert scores.loc["shuffled", "neighbour_accuracy"] < 0.6


def test_points_are_embedded_with_their_scores():
    digits = load_digits(held_out=0.2, seed=0)
    _, train, test = digit_coordinates(digits, 6)
    density = fit_mixture(train, components=5, floor=0.1, seed=0)
    labels = digits.train.labels[:150]
    result = embed_points(train[:150], labels, density, held_out=test, quantile=0.2, neighbours=8)
    assert result["picture"].shape == (result.sizes["method"], 150, 2)
    chance = 0.5  # trustworthiness of random neighbours
    assert (result["trustworthiness"] > chance + 0.2).all()
    assert (result["trustworthiness"] <= 1).all()


# Interpolation.


def test_a_geodesic_is_the_shortest_of_the_three_paths_and_the_line_the_longest_here():
    metric = horseshoe().metric(log_p0=math.log(0.3), log_lam=math.log(0.05))
    drawn = horseshoe().sample(400, torch.Generator().manual_seed(0))
    points = torch.cat([ENDS, drawn]).numpy()
    graph = geodesic_graph(points, epsilon_edges(points, 0.5), metric)
    found = interpolate(graph, metric, 0, 1, count=9, refined=33)
    straight, chain, geodesic = found.lengths
    assert straight > chain > geodesic
    assert found.converged
    for path in (found.straight, found.graph, found.geodesic):
        assert torch.equal(path[[0, -1]], ENDS)
        assert path.shape == (9, 2)
    assert path_log_prob(horseshoe(), found.geodesic)[1] > path_log_prob(horseshoe(), found.straight)[1]


def test_a_geodesic_that_is_a_line_is_found_from_the_line():
    metric = horseshoe().metric(log_p0=0.0, log_lam=math.inf)
    detour = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    points = torch.cat([ENDS, detour]).numpy()
    graph = geodesic_graph(points, np.array([[0, 2], [1, 2]]), metric)
    found = interpolate(graph, metric, 0, 1, refined=9)
    assert found.lengths == pytest.approx((2, 2 * math.sqrt(2), 2))
    torch.testing.assert_close(found.geodesic, straight_path(*ENDS, 9), rtol=0, atol=1e-9)


def test_principal_coordinates_of_a_plane_lose_nothing():
    images = normal(20, 2) @ normal(2, 9, seed=1)
    space = PrincipalSpace(images.numpy(), 2)
    assert space.explained == pytest.approx(1)
    torch.testing.assert_close(space.decode(space.encode(images.numpy())), images)


def test_pairs_join_different_classes():
    labels = np.array([0] * 30 + [1] * 3)
    pairs = unlike_pairs(labels, 20, 0)
    assert (labels[pairs[:, 0]] != labels[pairs[:, 1]]).all()
    np.testing.assert_array_equal(pairs, unlike_pairs(labels, 20, 0))


def test_paths_between_digits_are_compared():
    digits = load_digits(held_out=0.2, seed=0)
    space, train, test = digit_coordinates(digits, 4)
    density = fit_density(train, "mixture", seed=0, clouds=5, floor=0.1, flow_steps=1)
    judge = kernel_density(torch.from_numpy(digits.test.images.reshape(-1, 64) / 127.5 - 1), bandwidth=0.5)
    result = compare_paths(
        space, train[:300], digits.train.labels[:300], density, judge, held_out=test, pairs=2, quantile=0.2,
        neighbours=8, shape=(8, 8), count=5, refined=9,
    )  # fmt: skip
    assert result["image"].shape == (2, 3, 5, 8, 8)
    length = result["length"].sel(path=["straight", "graph", "geodesic"]).to_numpy()
    assert (length[:, 2] <= length[:, :2].min(axis=1)).all()
    # All three start and end at the same images.
    ends = result["image"].isel(step=[0, -1])
    assert (ends == ends.isel(path=0)).all()
    assert (result["first_label"] != result["last_label"]).all()


def test_every_estimator_of_a_density_can_be_asked_for():
    points = normal(60, 2)
    for kind in ("mixture", "kernel", "flow"):
        density = fit_density(points, kind, seed=0, clouds=2, floor=0.1, flow_steps=3)
        assert density.log_prob(points).isfinite().all()
    with pytest.raises(ValueError, match="kind is 'histogram', must be one of mixture, kernel, flow"):
        fit_density(points, "histogram", seed=0, clouds=2, floor=0.1, flow_steps=3)


# The experiments.


def test_shortest_paths_leave_the_line_for_the_ridge_as_lam_falls():
    sweep = lambda_sweep(horseshoe(), ENDS, [5, 0.5, 0.05], p0=0.3, box=HORSESHOE_BOX, spacing=0.2, nodes=16)
    height = sweep["path"].isel(axis=1).max("point").to_numpy()
    assert (np.diff(height) > 0.2).all()
    assert height[0] < 0.05
    assert (np.diff(sweep["mean_log_density"]) > 0).all()
    assert (sweep["length"] <= sweep["straight_length"]).all()
    assert (sweep["residual"] < 1e-8).all()


def test_epsilon_graphs_fall_apart_below_the_connecting_radius():
    graphs = epsilon_graphs(moons(60, 0), [0.6, 1.0, 1.5])
    assert graphs["components"].to_numpy()[0] > 1
    assert graphs["components"].to_numpy()[1:].tolist() == [1, 1]
    assert (np.diff(graphs["edges"]) > 0).all()
    sizes = np.bincount(graphs["component"].isel(graph=0))
    pairs = (60**2 - (sizes**2).sum()) // 2
    assert graphs["unreachable_pairs"].to_numpy().tolist() == [pairs, 0, 0]
    counts = np.bincount(graphs["edge_graph"])
    np.testing.assert_array_equal(counts, graphs["edges"])


def test_affinity_in_the_metric_orders_clusters_that_wind():
    maps = affinity_maps({name: TOYS[name](200, 0) for name in ("moons", "spirals")}, quantile=0.01, nodes=16)
    assert (maps["geodesic_auc"] > 0.97).all()
    assert (maps["geodesic_auc"] > maps["euclidean_auc"] + 0.05).all()
    for name in ("euclidean", "geodesic"):
        at_source = maps[name].isel(node=maps["source"])
        np.testing.assert_allclose(at_source, 1)
        # Half of the points are nearer than the median distance.
        assert ((maps[name] > math.exp(-1)).sum("node") == 100).all()


def test_a_density_graph_is_connected_from_its_radius_on():
    toy = moons(100, 1)
    assert density_graph(toy.points, toy.density, quantile=0.01, radius=1.0).component_count == 1
    assert density_graph(toy.points, toy.density, quantile=0.01, radius=0.5).component_count > 1
