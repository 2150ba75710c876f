"""Paths of a study by every method, on a small system whose images are known functions of the point."""

import numpy as np
import pandas as pd
import pytest
import torch

from hessgeo.evaluation.path_table import table_2, turning_at_boundaries
from hessgeo.free_energies.potentials import POTENTIALS
from hessgeo.geodesics.curves import length
from hessgeo.geodesics.lines import spherical_lines, straight_lines
from hessgeo.grids import Grid
from hessgeo.systems.slices import LatentSlice
from hessgeo.workflow.paths import (
    certificates,
    feature_maps,
    sample_waypoints,
    score_paths,
    shown_pairs,
    solve_paths,
    strips_of,
    study_metrics,
)

GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (25, 25))
SETTINGS = {
    "methods": ["linear", "spherical", "fisher", "published", "pixels", "density"],
    "pairs": 8,
    "margin": 0.1,
    "points": 30,
    "waypoints": 6,
    "refinement": 2,
    "doublings": 3,
    "spacing": "fisher",
    "floor": 1e-3,
    "smoothing": 1.0,
    "density_quantile": 0.5,
    "published_steps": 30,
    "published_learning_rate": 0.01,
    "confidence": 0.95,
    "shown": 3,
}
PLANE = LatentSlice(np.random.default_rng(0).normal(size=(3, 20)), GRID.extent)


class Waves:
    """Images of 4 x 4 pixels whose grey values are smooth functions of the point."""

    def sample(self, t, index, seed):
        phase = t @ np.random.default_rng(5).normal(size=(2, 16))
        grey = np.rint(127.5 * (1 + np.sin(phase)))
        return grey.astype(np.uint8).reshape(len(t), 4, 4, 1)


@pytest.fixture(scope="module")
def study():
    fisher = POTENTIALS["three_phases_soft"].hessian(torch.from_numpy(GRID.points)).numpy()
    images = Waves().sample(GRID.points, None, 0)
    features = {name: of(images).reshape(*GRID.shape, -1) for name, of in feature_maps(None).items()}
    log_density = -((GRID.points - 0.2) ** 2).sum(axis=1).reshape(GRID.shape)
    metrics = study_metrics(fisher.reshape(*GRID.shape, 2, 2), features, log_density, GRID, SETTINGS)
    paths = solve_paths(metrics, PLANE, GRID, SETTINGS, seed=4)
    return metrics, paths


def test_every_method_joins_the_same_pairs_within_the_box(study):
    _, paths = study
    assert list(paths["method"].to_numpy()) == SETTINGS["methods"]
    for name in ("points", "waypoints"):
        values = paths[name].to_numpy()
        np.testing.assert_allclose(
            values[:, :, 0], np.broadcast_to(values[:1, :, 0], values[:, :, 0].shape), atol=1e-12
        )
        np.testing.assert_allclose(
            values[:, :, -1], np.broadcast_to(values[:1, :, -1], values[:, :, -1].shape), atol=1e-12
        )
        assert np.abs(values).max() <= 1
    assert paths["points"].shape == (6, 8, 30, 2)
    assert paths["waypoints"].shape == (6, 8, 6, 2)


def test_no_method_is_shorter_than_the_geodesic_in_its_own_metric(study):
    metrics, paths = study
    for name, entry in metrics.items():
        lengths = [float(x) for x in paths["own_length"].sel({"method": name})]
        for other in paths["method"].to_numpy():
            curve = torch.from_numpy(paths["points"].sel({"method": other}).to_numpy())
            rival = length(curve, entry.metric).numpy()
            # A polyline of 30 points may cut the corners of a spline by its second-order error.
            assert (rival >= np.array(lengths) * (1 - 1e-3)).all(), (name, other)
    numbers = certificates(paths, metrics)
    assert numbers["pairs"] == 8
    assert numbers["fisher"]["converged"] == 8
    fisher = paths.sel({"method": "fisher"})
    within = (fisher["residual"] <= numbers["fisher"]["residual_tolerance"]) & (fisher["minimal"] == 1)
    assert numbers["fisher"]["certified"] == int(within.sum()) > 0
    # Segments were doubled of the paths that need it alone, three times at most.
    assert set(fisher["segments"].to_numpy()) <= {58, 116, 232, 464}
    assert bool((within | (fisher["segments"] == 464)).all())
    assert numbers["fisher_over_linear"]["largest"] <= 1 + 1e-3
    assert numbers["fisher_over_published"]["longer"] == 0
    assert 0 <= numbers["fisher"]["repaired_share"] < 1


def test_spherical_lines_lie_on_the_straight_ones_evenly_in_angle():
    starts, ends = GRID.points[[3, 100]], GRID.points[[600, 404]]
    points = spherical_lines(starts, ends, PLANE, 7)
    off, chord = points - starts[:, None], (ends - starts)[:, None]
    assert np.abs(off[..., 0] * chord[..., 1] - off[..., 1] * chord[..., 0]).max() < 1e-12
    latents = PLANE.latents(points.reshape(-1, 2)).reshape(2, 7, -1)
    unit = latents / np.linalg.norm(latents, axis=2, keepdims=True)
    angles = np.arccos(np.sum(unit[:, 1:] * unit[:, :-1], axis=2))
    np.testing.assert_allclose(angles, np.broadcast_to(angles[:, :1], angles.shape), rtol=1e-6)
    assert np.abs(points - straight_lines(starts, ends, 7)).max() > 1e-3
    opposite = LatentSlice(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), GRID.extent, "none")
    with pytest.raises(ValueError, match="opposite"):
        spherical_lines(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]]), opposite, 3)


def test_scores_of_a_study_and_its_strips(study):
    _, paths = study
    images = sample_waypoints(paths["waypoints"].to_numpy(), Waves(), seed=0)
    assert images.shape == (6, 8, 6, 4, 4, 1)
    flat = images.reshape(-1, 4, 4, 1)
    features = {name: of(flat).reshape(6, 8, 6, -1) for name, of in feature_maps(None).items()}
    label = np.where(GRID.points[:, 0].reshape(GRID.shape) < 0, 1, 2)
    scores = score_paths(paths, features, label, GRID)
    assert len(scores) == 48
    line = scores[scores["method"] == "linear"]
    assert line["curvature"].max() < 1e-9
    expected = np.sign(paths["points"].sel({"method": "linear"}).to_numpy()[:, [0, -1], 0].T)
    expected = expected[0] == expected[1]
    assert line["within_phase"].tolist() == expected.tolist()
    solved = scores[scores["method"] == "fisher"]
    np.testing.assert_allclose(solved["fisher"], solved["own_length"], rtol=1e-3)
    strips = strips_of(paths, images, features["pixels"], scores, 3)
    assert strips["images"].shape == (3, 2, 6, 4, 4, 1)
    pairs = shown_pairs(scores, 3)
    assert not line.set_index("pair").loc[pairs[0], "within_phase"]
    np.testing.assert_array_equal(strips["images"].to_numpy()[1, 0], images[2, pairs[1]])
    assert strips["steps"].to_numpy()[1, 1].sum() == pytest.approx(
        line.set_index("pair").loc[pairs[1], "pixels"]
    )


def scores_of(gain, pairs=50):
    rng = np.random.default_rng(0)
    base = 10 + rng.normal(size=pairs)
    within = np.arange(pairs) % 2 == 0
    common = {"pair": np.arange(pairs), "within_phase": within, "curvature_inside": 1.0}
    line = pd.DataFrame({"method": "linear", "clip": base, "curvature_at_boundary": 1.0, **common})
    ours = base - np.where(within, 0.0, gain) + 0.1 * rng.normal(size=pairs)
    return pd.concat(
        [line, pd.DataFrame({"method": "fisher", "clip": ours, "curvature_at_boundary": 3 + base, **common})]
    )


def test_table_holds_the_paired_differences_of_each_split():
    table = table_2(scores_of(1.0).sample(frac=1, random_state=1), ["clip"]).set_index(["pairs", "method"])
    across = table.loc[("across a boundary", "fisher")]
    # 25 differences of deviation 0.1: the mean is within 0.06 of -1, three standard errors.
    assert across["clip_difference"] == pytest.approx(-1, abs=0.06)
    assert across["clip_high"] < 0
    within = table.loc[("within a phase", "fisher")]
    assert within["clip_low"] < within["clip_difference"] < within["clip_high"]
    assert abs(within["clip_difference"]) < 0.06
    assert table.loc[("all", "linear"), "clip_difference"] == 0
    assert table.loc[("all", "fisher"), "count"] == 50
    with pytest.raises(ValueError, match="baseline 'spline'"):
        table_2(scores_of(1.0), ["clip"], baseline="spline")


def test_turning_at_boundaries_is_a_paired_difference():
    found = turning_at_boundaries(scores_of(1.0), "fisher")
    assert found.mean == pytest.approx(12, abs=0.5)
    assert found.low < found.mean < found.high


def test_way_points_share_their_spacing_or_keep_their_own(study):
    metrics, paths = study
    fisher = metrics["fisher"].metric
    own = solve_paths(
        metrics, PLANE, GRID, {**SETTINGS, "spacing": "own", "methods": ["linear", "fisher"]}, seed=4
    )
    np.testing.assert_array_equal(
        own["points"].to_numpy(), paths["points"].sel({"method": ["linear", "fisher"]}).to_numpy()
    )
    steps = np.diff(own["waypoints"].sel({"method": "linear"}).to_numpy(), axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-12)
    shared = torch.from_numpy(paths["waypoints"].sel({"method": "linear"}).to_numpy())
    pieces = torch.stack([length(shared[:, k : k + 2], fisher, nodes=32) for k in range(5)], dim=1)
    # 32 nodes over a fifth of the line, on which the interpolated metric has kinks in its third derivative.
    torch.testing.assert_close(pieces, pieces[:, :1].expand_as(pieces), rtol=1e-3, atol=0)
