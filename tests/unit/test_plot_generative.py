"""The figures of geodesics of densities show the numbers that they are given."""

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from printed import assert_whole

from hessgeo.densities.convergence import node_convergence
from hessgeo.densities.experiments import affinity_maps, epsilon_graphs
from hessgeo.densities.toys import TOYS, horseshoe, moons
from hessgeo.figures import (
    generative_affinity,
    generative_clustering,
    generative_convergence,
    generative_embedding,
    generative_graphs,
    generative_interpolation,
    generative_lambda,
)
from hessgeo.figures.saving import save_figure


@pytest.fixture
def saved(tmp_path):
    """Write a figure and check that nothing of it lies outside."""

    def save(figure, table):
        paths = [tmp_path / f"figure.{kind}" for kind in ("svg", "png", "csv")]
        save_figure(figure, table, *paths)
        assert all(path.stat().st_size > 0 for path in paths)
        assert_whole(figure, slack=0.02)
        return pd.read_csv(paths[2])

    return save


def test_lambda(saved):
    lams, angle = [0.05, 5.0], np.linspace(np.pi, 0, 9)
    path = np.stack([np.stack([np.cos(angle), h * np.sin(angle)], axis=1) for h in (0.8, 0.0)])
    numbers = {name: ("lam", [2.7, 2.1]) for name in (
        "length", "straight_length", "euclidean_length", "mean_log_density", "residual",
    )}  # fmt: skip
    x = y = np.linspace(-2, 2, 8)
    sweep = xr.Dataset(
        {"path": (("lam", "point", "axis"), path), "log_density": (("x", "y"), np.zeros((8, 8))), **numbers},
        coords={"lam": lams, "x": x, "y": y},
    )
    table = saved(*generative_lambda.draw(sweep))
    assert table["lam"].tolist() == [5.0, 0.05]
    assert table["length"].tolist() == [2.1, 2.7]


def test_graphs(saved):
    graphs = epsilon_graphs(moons(40, 0), [0.6, 1.0])
    table = saved(*generative_graphs.draw(graphs))
    assert table["edges"].tolist() == graphs["edges"].to_numpy().tolist()
    assert table["components"].tolist()[1] == 1


def test_convergence(saved):
    counts = np.array([100, 200, 400])
    rows = [
        {"count": n, "replicate": k, "error": (1 + 0.1 * k) * factor * n ** (-2 / 3), "draw": draw}
        for draw, factor in (("uniform", 2.0), ("density", 1.0))
        for n in counts
        for k in (0, 1)
    ]
    segments = torch.tensor([[[-1.0, 0.0], [0.0, 1.0]]], dtype=torch.float64)
    nodes = node_convergence(
        horseshoe().metric(log_p0=-1.0, log_lam=-1.0), segments, panels=[1, 8, 16, 32], nodes=[1, 2, 3, 6]
    )
    table = saved(*generative_convergence.draw(pd.DataFrame(rows), nodes)).set_index("curve")
    assert table.loc["points, uniform", "slope"] == pytest.approx(-2 / 3, rel=1e-6)
    assert table.loc["points, density", "last_error"] == pytest.approx(1.05 * 400 ** (-2 / 3))
    assert table.loc["panels, 2 nodes", "theory"] == -4
    assert table["monotone"].all()


def test_affinity(saved):
    maps = affinity_maps({name: TOYS[name](60, 0) for name in ("moons", "blobs")}, quantile=0.01, nodes=16)
    table = saved(*generative_affinity.draw(maps))
    assert table["toy"].tolist() == ["moons", "blobs"]
    np.testing.assert_allclose(table["geodesic_auc"], maps["geodesic_auc"], rtol=1e-9)


def test_clustering(saved):
    rows = [
        {"dataset": data, "seed": seed, "distance": distance, "method": method, "ari": 0.1 * seed + base}
        for data, base in (("moons", 0.2), ("circles", 0.4))
        for seed in (0, 1)
        for distance, method in (("Euclidean", "k-means"), ("kernel", "spectral"))
    ]
    figure, table = generative_clustering.draw(pd.DataFrame(rows))
    assert {text.get_text() for text in figure.axes[0].texts} >= {"0.25 (0.20)", "0.45 (0.40)"}
    table = saved(figure, table).set_index(["dataset", "method"])
    assert table.loc[("circles", "spectral"), "ari"] == pytest.approx(0.45)
    assert table.loc[("circles", "spectral"), "ari_least"] == pytest.approx(0.4)


def test_embedding(saved):
    names = ["geodesic, classical", "PCA", "Isomap", "Euclidean, t-SNE"]
    scores = {name: ("method", np.linspace(0.5, 0.9, 4)) for name in generative_embedding.SCORES}
    picture = np.random.default_rng(0).standard_normal((4, 20, 2))
    data = {"picture": (("method", "node", "axis"), picture), "label": ("node", np.arange(20) % 10), **scores}
    table = saved(*generative_embedding.draw(xr.Dataset(data, coords={"method": names})))
    assert table["picture"].tolist() == names
    np.testing.assert_allclose(table["trustworthiness"], np.linspace(0.5, 0.9, 4))


@pytest.mark.parametrize("pairs", [1, 5])
def test_interpolation(saved, pairs):
    generator = np.random.default_rng(0)
    names = ("length", "mean_log_prob", "least_log_prob", "mean_model_log_prob", "least_model_log_prob")
    values = {name: (("pair", "path"), generator.standard_normal((pairs, 3))) for name in names}
    about = {name: ("pair", np.arange(pairs)) for name in ("vertices", "first_label", "last_label")}
    image = generator.integers(0, 256, (pairs, 3, 5, 8, 8)).astype(np.uint8)
    data = xr.Dataset(
        {
            "image": (("pair", "path", "step", "h", "w"), image),
            "converged": ("pair", np.ones(pairs, bool)),
            **values,
            **about,
        },
        coords={"path": ["straight", "graph", "geodesic"]},
    )
    table = saved(*generative_interpolation.draw(data))
    assert len(table) == 3 * pairs
    np.testing.assert_allclose(table["length"], values["length"][1].ravel(), rtol=1e-9)
