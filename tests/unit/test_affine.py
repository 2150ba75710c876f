"""A study of other units, offsets and windows is the same study, from the choice of N to paths: drawn at random."""

import numpy as np
import pytest
import torch

from hessgeo.evaluation.path_images import score_paths
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.geodesics import geodesics
from hessgeo.grids import Frame, Grid
from hessgeo.metrics.base import FunctionMetric
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.pipeline import chain, metric_chain, phase_chain
from hessgeo.pipeline.paths import certificates, solve_paths, study_metrics
from hessgeo.posteriors import choose_resolution, posterior

SHAPE = (16, 16)
FIT = {"fit": "spline", "splines": (18, 18), "smoothness": "auto", "tolerance": 1e-9, "max_iterations": 100}
PHASES = {"persistence": 0.3, "minimum_area": 0.02, "smoothing": 0.5, "neighbours": 6}
PATHS = {
    "methods": ["linear", "fisher"], "pairs": 3, "margin": 0.1, "points": 16, "refinement": 2,
    "doublings": 0, "smoothing": 1.0, "floor": 1e-3, "spacing": "fisher", "waypoints": 5, "published_steps": 20,
    "published_learning_rate": 0.01, "path_length_places": 2, "path_length_epsilon": 1e-2, "density_quantile": 0.1,
}  # fmt: skip


class Change:
    """Parameters ``centre + half * u`` in place of ``u``."""

    def __init__(self, centre, half, shape=SHAPE):
        self.frame = Frame(tuple(map(float, centre)), tuple(map(float, half)))
        self.half = np.array(self.frame.half)
        sides = zip(self.frame.centre, self.frame.half, strict=True)
        self.grid = Grid(tuple((c - h, c + h) for c, h in sides), shape)
        ratio = [abs(c) / h for c, h in zip(self.frame.centre, self.frame.half, strict=True)]
        self.rounding = np.finfo(float).eps * max(1.0, *ratio)


def drawn(seed):
    """Units from 1e-6 to 1e6 along each axis alone, the box up to 1e10 half sides from the origin."""
    rng = np.random.default_rng(seed)
    half = 10 ** rng.uniform(-6, 6, 2)
    return Change(rng.choice([-1, 1], 2) * half * 10 ** rng.uniform(-2, [6, 10][seed % 2], 2), half)


def embedding(u):
    """Smooth features with ridges in both directions, the same whatever the parameters are called."""
    a, b = u.T
    return np.stack([np.tanh(4 * (a - 0.1)), np.tanh(4 * (b + 0.2)), 0.5 * a, 0.5 * b, 0.2 * a * b], axis=1)


def study(change):
    """All that a study tells of itself, in box units."""
    grid, half, into = change.grid, change.half, change.frame.into
    features, g = embedding(grid.unit.points), np.outer(change.half, change.half)
    rule = {"kernel": "gaussian", "cells": 17.0, "quantile": 0.05, "sources": 100, "seed": 0}
    resolution = choose_resolution(features, grid.points, **rule, grid=grid)
    moments = posterior(features, grid.points, resolution=resolution)
    fit = chain.fit_free_energy(moments, features, grid, FIT, seed=0, progress=False)
    fields = free_energy_dataset(fit, grid, attributes={"fit": "spline", "verdict": fit.verdict})
    metric, numbers = metric_chain.derive_metric(fields, moments, features, grid)
    maps, found, of_phases = phase_chain.describe_phases(
        metric, fields, features, grid.points, grid, PHASES, on_grid=True
    )
    metrics = study_metrics(fields["fisher_metric"].to_numpy(), {}, None, grid, PATHS)
    paths = solve_paths(metrics, None, grid, PATHS, seed=1)
    scores = score_paths(paths, {}, maps["label"].to_numpy(), grid)
    return {
        "N": resolution,
        "third": fields["third"].to_numpy() * g[:, :, None] * half,
        "g": fields["fisher_metric"].to_numpy() * g,
        "g error": fields["fisher_metric_error"].to_numpy() * g,
        "measured": metric["measured_metric"].to_numpy() * g,
        "metric": np.array(
            [numbers[k] for k in sorted(numbers) if "codazzi" in k or "difference" in k or "share" in k]
        ),
        "label": maps["label"].to_numpy(),
        "lipschitz": maps["lipschitz"].to_numpy() * np.sqrt(half.prod()),
        "strengths": np.array([[line["lowest"], line["strength"]] for line in found["boundaries"]]),
        "boundaries": np.concatenate([into(line["points"]) for line in found["boundaries"]]),
        "corners": np.stack([into(corner["point"]) for corner in found["triple_points"]]),
        "medoids": np.array([phase["medoid"] for phase in found["phases"]]),
        "slopes": np.stack([phase["mean_gradient"] for phase in found["phases"]]) * half,
        "noise": np.array([of_phases["noise"], of_phases["persistence"]]),
        "paths": into(paths["points"].to_numpy()),
        "waypoints": into(paths["waypoints"].to_numpy()),
        "lengths": paths["fisher_length"].to_numpy(),
        "certified": paths["certified"].to_numpy(),
        "certificates": np.array(
            [certificates(paths, metrics)["fisher"][k] for k in ("converged", "minimal")]
        ),
        "bend": scores["bend"].to_numpy(),
        "turning": scores["curvature"].to_numpy() * np.sqrt(half.prod()),
    }


@pytest.fixture(scope="module")
def plain():
    return study(Change((0.0, 0.0), (1.0, 1.0)))


@pytest.mark.parametrize("seed", range(4))
def test_a_study_is_the_same_after_any_affine_change(seed, plain):
    change = drawn(seed)
    found = study(change)
    assert len(plain["corners"]) >= 1
    assert np.nansum(plain["certified"]) >= 1
    for name, expected in plain.items():
        # To 1e-6, or as well as the parameters themselves can be told apart, of which third derivatives and the
        # turning of paths keep least.
        steep = {"third": 300, "strengths": 300, "noise": 300, "turning": 3000, "bend": 300}.get(name, 30)
        near = max(1e-6, steep * change.rounding)
        scale = np.nanmax(np.abs(np.asarray(expected, dtype=float)))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=near * scale, err_msg=name)


def wavy(u):
    """A metric in box units, with a ridge."""
    a, b = u.T
    off = 0.3 * np.sin(2 * a * b)
    ridge = 1 + 20 * np.exp(-((a - 0.2 * b) ** 2) / 0.05)
    return np.stack([ridge, off, off, 0.5 + np.exp(b)], axis=1).reshape(-1, 2, 2)


@pytest.mark.parametrize("half", [(1.0, 1e6), (1e-6, 1.0), (1e6, 1e6)])
def test_the_published_scheme_goes_the_same_way_in_all_units(half):
    def way(change):
        # The one setting in the units of parameters.
        rate = PATHS["published_learning_rate"] * np.sqrt(change.half.prod())
        settings = PATHS | {
            "methods": ["published"],
            "pairs": 1,
            "published_learning_rate": rate,
            "smoothing": 0.0,
        }
        g = wavy(change.grid.unit.points) / np.outer(change.half, change.half)
        metrics = study_metrics(g.reshape(*SHAPE, 2, 2), {}, None, change.grid, settings)
        return change.frame.into(
            solve_paths(metrics, None, change.grid, settings, seed=1)["points"].to_numpy()
        )

    np.testing.assert_allclose(way(Change((0, 0), half)), way(Change((0, 0), (1, 1))), atol=1e-6)


@pytest.mark.parametrize(
    ("centre", "half"), [((0, 0), (1, 1e6)), ((1e6, -1e6), (5e-3, 5e-3)), ((0.3, 0.3), (1e-10, 1e-10))]
)
def test_geodesics_of_a_window_are_certified_wherever_it_lies(centre, half):
    def solved(change):
        g = wavy(change.grid.unit.points) / np.outer(change.half, change.half)
        metric = GriddedMetric(g.reshape(*SHAPE, 2, 2), change.grid)
        ends = change.frame.out_of(np.array([[[-0.8, -0.5], [0.7, -0.9]], [[0.9, 0.2], [-0.4, 0.6]]]))
        paths = geodesics(metric, *torch.from_numpy(ends), points=60)
        return paths, change.frame.into(paths.points.numpy()), change.frame.into(paths.equidistant(7).numpy())

    change = Change(centre, half)
    (expected, points, even), (found, *same) = solved(Change((0, 0), (1, 1))), solved(change)
    assert expected.certified.all()
    assert found.certified.all()
    near = max(1e-9, 10 * change.rounding)
    np.testing.assert_allclose(found.length, expected.length, rtol=near)
    np.testing.assert_allclose(same[0], points, atol=near)
    np.testing.assert_allclose(same[1], even, atol=near)
    assert found.iterations.tolist() == expected.iterations.tolist()


def test_a_function_in_a_far_window_is_solved_as_well_as_its_numbers_allow():
    """The half-plane, its points counted from 1e6 on: exact distances."""
    offset = torch.tensor([1e6, 1e6], dtype=torch.float64)
    metric = FunctionMetric(lambda t: torch.eye(2).to(t) / (t[..., 1] - 1e6)[..., None, None] ** 2)
    start, end = (torch.tensor([point], dtype=torch.float64) for point in ((-0.01, 0.01), (0.01, 0.02)))
    found = geodesics(metric, offset + start, offset + end, points=24, grid_starts=False)
    exact = 2 * torch.asinh((end - start).norm() / (2 * (start[0, 1] * end[0, 1]).sqrt()))
    assert bool(found.certified.all())
    torch.testing.assert_close(found.length, exact[None], rtol=1e-7, atol=0)
    near = geodesics(metric, offset + start, offset + start + 1e-8, points=12, grid_starts=False)
    assert bool(near.certified.all())


def test_pairs_refused_in_a_far_window_are_told_in_its_own_numbers():
    box = ((1e6, 1e6 + 1), (0.0, 1.0))
    metric = FunctionMetric(lambda t: torch.eye(2).to(t).expand(*t.shape, 2), box=box)
    ends = torch.tensor([[1e6 + 0.2, 0.5], [1e6 + 3, 0.5]], dtype=torch.float64)
    found = geodesics(metric, torch.full_like(ends, 0.1) + torch.tensor([1e6, 0.0]), ends, points=9)
    assert found.failures == {1: f"its end lies outside the box {box}"}
    assert float(found.length[0]) == pytest.approx(np.hypot(0.1, 0.4), rel=1e-8)
    with pytest.raises(ValueError, match=r"1000001\.0"):
        geodesics(metric, ends[1:], ends[1:], points=9)
