"""Nothing depends on the units of the parameters, nor on how far from the origin or how small their box is."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.gauge import affine_in_parameters, align, check_not_affine, remove_affine_part
from hessgeo.evaluation.metric_scores import metric_scores
from hessgeo.evaluation.posterior_rows import fitted_rows
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.free_energies.mlp import fit_mlp
from hessgeo.free_energies.moments import fit_moments
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.free_energies.smoothness import nearest_others
from hessgeo.free_energies.statistics_map import fit_statistics_map
from hessgeo.grids import Grid, bilinear_weights
from hessgeo.metrics.diagnostics import codazzi_residual, eigenvalues, positive_definite
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.metrics.measured import posterior_metric
from hessgeo.metrics.repair import relative_floor, repair
from hessgeo.phases.lipschitz import lipschitz_field
from hessgeo.pipeline import chain, phase_chain
from hessgeo.posteriors import posterior

SHAPE = (16, 16)
UNIT = Grid(((-1.0, 1.0), (-1.0, 1.0)), SHAPE)


@dataclass(frozen=True)
class Change:
    """Parameters ``centre + half * u`` in place of ``u``, and how far the numbers themselves allow equality."""

    centre: tuple[float, float]
    half: tuple[float, float]

    @property
    def grid(self):
        return Grid(tuple((c - h, c + h) for c, h in zip(self.centre, self.half, strict=True)), SHAPE)

    @property
    def rounding(self):
        """Of a parameter, relative to the box."""
        return np.finfo(float).eps * max(abs(c) / h for c, h in zip(self.centre, self.half, strict=True))

    @property
    def product(self):
        return np.outer(self.half, self.half)


CHANGES = {
    "b times 1000": Change((0.0, 0.0), (1.0, 1e3)),
    "b times a million": Change((0.0, 0.0), (1.0, 1e6)),
    "a millionth": Change((0.0, 0.0), (1e-6, 1.0)),
    "offset of a million": Change((1e6, -1e6), (1.0, 1.0)),
    "narrow and far": Change((1e6, 1e6), (5e-3, 5e-3)),
    "far along one axis": Change((0.0, 1e6), (1e-3, 10.0)),
    **{f"window of 1e-{k}": Change((0.3, 0.3), (10.0**-k, 10.0**-k)) for k in (5, 8, 10)},
}


def embedding():
    """Smooth features with ridges in both directions, the same whatever the parameters are called."""
    a, b = UNIT.points.T
    features = [np.tanh(4 * (a - 0.1)), np.tanh(4 * (b + 0.2)), 0.5 * a, 0.5 * b]
    return np.stack(features, axis=1)


def study(change):
    """From embeddings to phases, brought back to box units."""
    grid, half = change.grid, np.array(change.half)
    moments = posterior(embedding(), grid.points, resolution=30.0)
    settings = {
        "fit": "spline",
        "splines": (11, 11),
        "smoothness": "auto",
        "tolerance": 1e-9,
        "max_iterations": 100,
    }
    fit = chain.fit_free_energy(moments, embedding(), grid, settings, seed=0)
    about = {"fit": "spline", "kernel": "gaussian"}
    fields = free_energy_dataset(fit, grid, attributes=about)
    metric = chain.metric_fields(fields)
    phases = phase_chain.phase_map(
        metric["largest_eigenvalue"].to_numpy(), grid,
        {"persistence": 0.3, "minimum_area": 0.02, "smoothing": 0.5},
    )  # fmt: skip
    sources = np.array([0, 100, 255])
    return {
        "covariance": moments.covariance / change.product,
        "posterior metric": posterior_metric(moments) * change.product,
        "F": remove_affine_part(grid.points, fields["free_energy"].to_numpy().ravel()),
        "F error": fields["free_energy_error"].to_numpy(),
        "gradient error": fields["gradient_error"].to_numpy() * half,
        "g": fields["fisher_metric"].to_numpy() * change.product,
        "g error": fields["fisher_metric_error"].to_numpy() * change.product,
        "third": fields["third"].to_numpy() * change.product[:, :, None] * half,
        "curvature": metric["curvature"].to_numpy(),
        "definite": metric["positive_definite"].to_numpy(),
        "codazzi": codazzi_residual(fields["fisher_metric"].to_numpy(), grid),
        "label": phases.label,
        "ridge": phases.ridge,
        "rows": fitted_rows(fields, grid.points, sources, grid),
        "numbers": np.array(
            [fit.certificate[name] for name in ("noise", "misfit", "smoothness", "mean_divergence")]
        ),
    }


@pytest.fixture(scope="module")
def plain():
    return study(Change((0.0, 0.0), (1.0, 1.0)))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_study_is_the_same_in_all_units(change, plain):
    found = study(change)
    assert len(np.unique(plain["label"])) >= 4
    for name, expected in plain.items():
        # To 1e-6, or as well as the parameters themselves can be told apart: second and third derivatives of what is
        # given at points that are off by a rounding are off by some tens of it.
        steep = 1e4 if name == "curvature" else 300  # the inverse square of a determinant
        near = 1e-10 + 10 * change.rounding if name == "covariance" else max(1e-6, steep * change.rounding)
        scale = np.nanmax(np.abs(np.asarray(expected, dtype=float)))
        np.testing.assert_allclose(found[name], expected, rtol=0, atol=near * scale, err_msg=name)


def test_a_box_with_nodes_that_are_one_number_is_refused():
    with pytest.raises(ValueError, match="too narrow"):
        Grid(((1e6, 1e6 + 1e-9), (0.0, 1.0)), (32, 32))


def test_samples_on_the_nodes_of_a_deep_window_touch_no_other():
    grid = CHANGES["window of 1e-10"].grid
    weights = bilinear_weights(grid.points, grid)
    assert weights.nnz == grid.size


def test_of_equally_near_points_the_first_are_taken():
    expected = nearest_others(UNIT.points, 16)
    assert not np.any(expected == np.arange(UNIT.size)[:, None])
    nudged = UNIT.points * (1 + 1e-15) + 1e-16 * np.random.default_rng(0).standard_normal((UNIT.size, 2))
    np.testing.assert_array_equal(nearest_others(nudged, 16), expected)
    twins = np.repeat(UNIT.points, 2, axis=0)
    assert not np.any(nearest_others(twins, 16) == np.arange(len(twins))[:, None])


def gaussian_samples(change):
    """``f = g u + noise``, conjugate to the parameters."""
    rng = np.random.default_rng(3)
    u = rng.uniform(-1, 1, (2000, 2))
    g = np.array([[2.0, 0.5], [0.5, 1.0]])
    f = u @ g + rng.standard_normal((2000, 2)) @ np.linalg.cholesky(g).T
    return f / np.array(change.half), np.array(change.centre) + np.array(change.half) * u


@pytest.mark.parametrize("name", ["b times a million", "offset of a million", "window of 1e-8"])
def test_fits_to_statistics_are_the_same_in_all_units(name):
    def fits(change):
        f, t = gaussian_samples(change)
        at = torch.from_numpy(change.grid.points[::51])
        eye = torch.from_numpy(np.diag(change.half))[None].expand(len(at), 2, 2)
        half, found = torch.tensor(change.half, dtype=torch.float64), {}
        # The samples' box itself: rounding may put a sample outside of a stated one.
        box = tuple(zip(t.min(axis=0).tolist(), t.max(axis=0).tolist(), strict=True))
        for kind, fit in (
            ("r", fit_reweighted(f, t, nodes=64)),
            ("m", fit_moments(f, t, box, splines=(6, 6))),
        ):
            found[f"{kind} gradient"] = fit.gradient(at) * half
            found[f"{kind} g"] = fit.hessian(at) * half[:, None] * half
            found[f"{kind} g error"] = fit.hessian_error(at, eye)
            found[f"{kind} bars"] = fit.hessian_error(at) * half[:, None] * half
            found[f"{kind} third"] = fit.third(at) * half[:, None, None] * half[:, None] * half
            if kind == "r":
                value = fit.value(at)
                found["value"] = value - value.mean()
                response = fit.hessian_response(at) * (half[:, None] * half)[:, :, None, None]
                found["response"] = response * half / half[:, None]
        conjugate = fit_statistics_map(f, t, nodes=32)
        found["map"] = torch.from_numpy(conjugate.matrix) * half[:, None] / half
        scale = (half[:, None] / half).flatten()
        found["map covariance"] = torch.from_numpy(conjugate.covariance) * scale[:, None] * scale
        return found

    change = CHANGES[name]
    expected, found = fits(Change((0.0, 0.0), (1.0, 1.0))), fits(change)
    for key, values in expected.items():
        near = max(1e-6, 1e3 * change.rounding) * float(values.abs().max())
        if key.endswith("third"):
            near = max(near, 1e-5)
        torch.testing.assert_close(
            found[key], values, rtol=0, atol=near, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_a_perceptron_sees_box_units():
    def fit(change):
        rows = np.exp(-20 * ((UNIT.points[:, None] - UNIT.points) ** 2).sum(-1))
        rows = (rows / rows.sum(axis=1, keepdims=True))[::9]
        points = change.grid.points
        made = fit_mlp(rows, points[::9], change.grid, resolution=20.0, steps=5, width=16, depth=2, seed=1)
        return made.gradient(torch.from_numpy(points)).numpy() * np.array(change.half)

    expected = fit(Change((0.0, 0.0), (1.0, 1.0)))
    for name in ("b times 1000", "window of 1e-8"):
        np.testing.assert_allclose(fit(CHANGES[name]), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def curved(grid, change):
    """A metric of no potential, given in box units, in those of the change."""
    a, b = UNIT.points.T
    zero = 0.1 * np.sin(2 * a * b)
    field = np.stack([1 + a**2, zero, zero, 0.3 + np.exp(b)], axis=1).reshape(-1, 2, 2)
    return field / change.product


@pytest.mark.parametrize("name", ["b times 1000", "b times a million", "narrow and far", "window of 1e-8"])
def test_diagnostics_and_scores_of_metrics_are_the_same_in_all_units(name):
    def measures(change):
        grid = change.grid
        g = curved(grid, change)
        other = g * (1 + 0.1 * UNIT.points[:, 0])[:, None, None]
        scores = metric_scores(Estimate(metric=other), g, grid)
        deep = g - 0.9 * g.min(axis=0) * np.array([[1, 0], [0, 0]])
        floor = relative_floor(deep, 0.5, units=grid.square)
        mended = repair(deep, floor=floor, units=grid.square)
        between = torch.from_numpy(
            np.array(change.centre) + np.array([[0.03, -0.41], [0.5, 0.77]]) * change.half
        )
        smooth = GriddedMetric(g.reshape(*SHAPE, 2, 2), grid)
        return [
            codazzi_residual(g.reshape(*SHAPE, 2, 2), grid), scores.median, scores.percentile_90,
            scores.distance_rank_error, scores.distance_mse, mended.count, *(mended.metric * change.product).ravel(),
            *(smooth(between).numpy() * change.product).ravel(),
            *(smooth.slope(between)[1].numpy() * change.product[:, :, None] * change.half).ravel(),
        ]  # fmt: skip

    change = CHANGES[name]
    expected = measures(Change((0.0, 0.0), (1.0, 1.0)))
    np.testing.assert_allclose(measures(change), expected, rtol=1e-7, atol=1e-6 + 300 * change.rounding)


def test_a_metric_is_definite_in_all_units():
    g = np.array([[1.0, 0.3e-9], [0.3e-9, 1e-18]])
    assert positive_definite(g)
    np.testing.assert_allclose(eigenvalues(g), [0.91e-18, 1.0], rtol=1e-12)
    assert not positive_definite(np.array([[1.0, 1.1e-9], [1.1e-9, 1e-18]]))
    assert not positive_definite(np.full((2, 2), np.nan))


def test_neighbours_of_scattered_samples_do_not_depend_on_units():
    u = np.random.default_rng(5).uniform(-1, 1, (200, 2))
    features = np.stack([u[:, 0], u[:, 0] ** 2], axis=1)  # steep along a alone
    plain, wide = (lipschitz_field(features, u * w, grid=None) for w in ([1.0, 1.0], [1e4, 1e4]))
    np.testing.assert_allclose(wide, plain / 1e4, rtol=1e-9)
    far = lipschitz_field(features, u + 1e6, grid=None)
    np.testing.assert_allclose(far, plain, rtol=1e-6)


@pytest.mark.parametrize("name", CHANGES)
def test_the_gauge_comes_off_in_all_units(name):
    change = CHANGES[name]
    u = UNIT.points
    values = np.sin(3 * u[:, 0]) * np.cos(2 * u[:, 1])
    expected = remove_affine_part(u, values)
    found = remove_affine_part(change.grid.points, values)
    assert np.sqrt(np.mean(found**2)) == pytest.approx(
        np.sqrt(np.mean(expected**2)), rel=1e-9 + 10 * change.rounding
    )


def test_a_large_constant_leaves_the_shape_of_a_potential():
    u = UNIT.points
    shape = 1e-5 * np.sin(3 * u[:, 0])
    functions = affine_in_parameters(u)
    check_not_affine(functions, 1e8 + shape)
    # 1e8 is known to 1.5e-8, a part in 700 of the shape.
    assert align(1e8 + shape / 2, None, 1e8 + shape, functions, scale=True).scale == pytest.approx(
        2, rel=1e-2
    )
    for offset in (0.0, 1e6):
        with pytest.raises(ValueError, match="affine"):
            check_not_affine(affine_in_parameters(u + offset), 1e8 + 3 * u[:, 0])


def test_a_gridded_metric_that_is_not_symmetric_is_refused():
    g = np.broadcast_to(np.eye(2), (*SHAPE, 2, 2)).copy()
    g[3, 4, 0, 1] = 0.5
    with pytest.raises(ValueError, match="g_ab and g_ba differ by up to"):
        GriddedMetric(g, UNIT)


def test_a_potential_upside_down_has_no_skill():
    t = UNIT.points
    truth = np.exp(t[:, 0]) + t[:, 1] ** 2
    functions = affine_in_parameters(t)
    upside_down = align(-truth, None, truth, functions, scale=True)
    assert upside_down.scale == 0
    np.testing.assert_allclose(
        upside_down.value, truth - remove_affine_part(t, truth), atol=1e-12
    )  # its plane alone
    assert align(truth / 3 + t[:, 0], None, truth, functions, scale=True).scale == pytest.approx(3)
