"""Scores of potentials and metrics: against brute force, closed forms, and what the paper's numbers imply."""

import itertools
import json

import numpy as np
import pytest
from scipy.optimize import minimize

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.gauge import affine_in_natural
from hessgeo.evaluation.helmholtz import helmholtz
from hessgeo.evaluation.metric_scores import (
    constant_metric,
    distance_mse,
    distance_rank_error,
    interior,
    metric_scores,
    segment_lengths,
)
from hessgeo.evaluation.table_scores import oracle_scores, table_scores, zero_skill_scores
from hessgeo.evaluation.tables import Record, Truth, metric_table, potential_table
from hessgeo.evaluation.tasep_potentials import current_potential, entropy_potential
from hessgeo.evaluation.truth import estimate_dataset, exact_fields
from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.tasep import Tasep

GRID = Grid(((1.0, 3.0), (-1.0, 1.0)), (9, 8))
UNIT = Grid(((0.5 / 128, 1 - 0.5 / 128), (0.5 / 128, 1 - 0.5 / 128)), (128, 128))
NATURAL = affine_in_natural(GRID.points, TEMPERATURE_FIELD)


def truth():
    """Curie-Weiss in (T, H)."""
    system = CurieWeiss(20, coordinates=TEMPERATURE_FIELD)
    exact = system.cumulants(system.natural(GRID.points))
    gradient = np.einsum("nij,ni->nj", system.jacobian(GRID.points), exact.mean)
    return Estimate(exact.log_partition, gradient, system.pulled_back_metric(GRID.points))


def other_gauge(exact, *, factor=1.0):
    """The same potential with an affine function of the natural parameters added, and divided by a factor."""
    jacobian = TEMPERATURE_FIELD.jacobian(GRID.points)
    slope = np.array([3.0, -2.0])
    value = exact.value + 5 + TEMPERATURE_FIELD.natural(GRID.points) @ slope
    gradient = exact.gradient + np.einsum("nij,i->nj", jacobian, slope)
    return Estimate(value / factor, gradient / factor)


def test_the_gauge_costs_nothing_in_the_coordinates_in_which_it_is_affine():
    exact = truth()
    found = table_scores(other_gauge(exact), exact, GRID.points, gauge_coordinates=NATURAL)
    # Rounding of values of order 20.
    assert max(found.value, found.first, found.second) < 1e-11
    assert found.scale == 1
    literal = table_scores(other_gauge(exact), exact, GRID.points)
    assert literal.value > 0.05
    assert literal.first > 0.1


def test_a_factor_is_free_only_where_the_gauge_says_so():
    exact = truth()
    third = other_gauge(exact, factor=3.0)
    found = table_scores(third, exact, GRID.points, gauge="shift+slope+scale", gauge_coordinates=NATURAL)
    assert found.scale == pytest.approx(3)
    assert max(found.value, found.first, found.second) < 1e-10
    assert table_scores(third, exact, GRID.points, gauge_coordinates=NATURAL).value > 0.1


@pytest.mark.parametrize("gauge", ["shift+slope", "shift+slope+scale"])
def test_the_score_is_the_least_that_any_member_of_the_gauge_has(gauge):
    """Eq. 118 by a minimiser that knows nothing of least squares."""
    exact, rng = truth(), np.random.default_rng(2)
    value = exact.value / 2 + rng.normal(size=GRID.size)
    design = np.column_stack([np.ones(GRID.size), GRID.points])

    def rmse(c):
        factor = c[3] if gauge.endswith("scale") else 1.0
        return np.mean((factor * value + design @ c[:3] - exact.value) ** 2)

    best = minimize(rmse, np.array([0.0, 0, 0, 1]), method="BFGS", options={"gtol": 1e-9})
    found = table_scores(Estimate(value=value), exact, GRID.points, gauge=gauge)
    assert found.value == pytest.approx(np.sqrt(best.fun), rel=1e-6)
    assert np.isnan(found.first)
    assert np.isnan(found.second)


def test_the_gradient_is_that_of_the_aligned_values():
    """Finite differences of s F + <c, A> where both are polynomials, against the gradient that is scored."""
    x, y = GRID.points.T
    exact = Estimate(x**2 + 0.3 * y**2, np.column_stack([2 * x, 0.6 * y]))
    wrong = Estimate(x**2 + 0.3 * y**2 + x * y, np.column_stack([2 * x + y, 0.6 * y + x]))
    found = table_scores(wrong, exact, GRID.points)
    # x y less its plane: x has mean 2 on the grid and y mean 0, so 2 y goes; the slopes left are y and x - 2.
    assert found.first == pytest.approx(np.sqrt(np.mean(y**2)))
    assert found.second == pytest.approx(np.sqrt(np.mean((x - 2) ** 2)))


def test_the_paper_s_baselines_stand_at_zero_skill():
    """Lobashev et al., Table 1: .0524 to .0529 for F of TASEP, and .3832 to .3872 for its derivatives."""
    current = current_potential(UNIT.points)
    assert zero_skill_scores(current, UNIT.points).value == pytest.approx(0.0519, abs=5e-4)
    # Their slopes score what no slope at all does: the gauge was removed from the values alone.
    assert np.sqrt((current.gradient**2).mean(axis=0)) == pytest.approx(0.3818, abs=1e-3)


def test_the_oracle_of_tasep_is_not_at_zero():
    """ground-truths.md: the entropy potential stands near .0064 for F under the paper's protocol."""
    found = oracle_scores(
        entropy_potential(UNIT.points), current_potential(UNIT.points), UNIT.points, gauge="shift+slope+scale"
    )
    assert found.value == pytest.approx(0.0064, abs=2e-4)
    assert found.first == pytest.approx(found.second)
    assert found.first == pytest.approx(0.15, abs=0.01)
    assert found.scale > 0  # both are convex: the current, which is concave, counts with its sign turned


def test_the_oracle_pays_for_a_gauge_that_is_not_its_own():
    exact = truth()
    right = oracle_scores(other_gauge(exact), exact, GRID.points, gauge_coordinates=NATURAL)
    assert right.value < 1e-10
    assert oracle_scores(other_gauge(exact), exact, GRID.points).value > 0.01


def test_a_table_bounds_each_method_in_its_own_gauge():
    fields = exact_fields(CurieWeiss(20, coordinates=TEMPERATURE_FIELD), GRID)
    system = Truth("curie", 20, fields, temperature=True)
    records = [
        Record(
            "curie", name, natural, 100, 0,
            estimate_dataset(other_gauge(truth()), GRID).assign_attrs(
                seconds=1.0, training_seconds=2.0, numbers=json.dumps({"converged": [True, False]})
            ),
        )
        for name, natural in (("right", True), ("wrong", False))
    ]  # fmt: skip
    table = potential_table(records, [system], target="paper")
    log_z = table[(table["quantity"] == "log Z") & (table["gauge"] == "shift+slope")]
    rows = log_z.set_index(["method", "gauge_coordinates"])["value"]
    study, natural = rows["zero skill", "study"], rows["zero skill", "natural"]
    assert study == pytest.approx(zero_skill_scores(truth(), GRID.points).value / 20)
    assert natural == pytest.approx(
        zero_skill_scores(truth(), GRID.points, gauge_coordinates=NATURAL).value / 20
    )
    assert rows["right", "natural"] < 1e-10 < rows["wrong", "study"]
    # -T log Z is undetermined by functions that are affine in (T, H), whatever a method works in.
    thermal = table[table["quantity"] == "-T log Z"]
    assert set(thermal["gauge_coordinates"]) == {"study"}
    assert set(table.loc[table["kind"] == "estimate", "converged"]) == {0.5}
    assert table.loc[table["kind"] != "estimate", "converged"].isna().all()


def test_the_oracle_of_a_measured_metric_is_moved_by_its_errors_and_symmetric(monkeypatch):
    fields, scored = exact_fields(CurieWeiss(20, coordinates=TEMPERATURE_FIELD), GRID), []
    fields["metric_error"][:] = [[0.3, 0.1], [0.1, 0.0]]

    def score(estimate, *arguments, **options):
        scored.append(estimate.metric)
        return metric_scores(estimate, *arguments, **options)

    monkeypatch.setattr("hessgeo.evaluation.tables.metric_scores", score)
    system = Truth("curie", 20, fields, temperature=True)
    table = metric_table([], [system])
    assert table["kind"].to_list() == ["zero skill", "oracle"]
    assert table["median"][1] > 0
    move = scored[1] - system.flat("metric")
    np.testing.assert_allclose(move, move.swapaxes(1, 2), atol=1e-12)  # rounding of the truth itself
    assert not move[:, 1, 1].any()  # what is exact stays
    # The deviation of 72 normal numbers is known to 8 %.
    assert move[:, 0].std(axis=0) == pytest.approx([0.3, 0.1], rel=0.33)


def test_the_free_energy_of_thermodynamics_is_affine_where_its_family_is_not():
    """What is undetermined of log Z is affine in (1/T, H/T), and of -T log Z in (T, H)."""
    exact = truth()
    found, true = helmholtz(other_gauge(exact), GRID.points), helmholtz(exact, GRID.points)
    scores = table_scores(found, true, GRID.points)
    assert max(scores.value, scores.first, scores.second) < 1e-10
    system, shift = CurieWeiss(20, coordinates=TEMPERATURE_FIELD), 1e-5
    for axis in (0, 1):
        step = shift * np.eye(2)[axis]
        above, below = (
            -(GRID.points + sign * step)[:, 0]
            * system.log_partition(system.natural(GRID.points + sign * step))
            for sign in (1, -1)
        )
        np.testing.assert_allclose(true.gradient[:, axis], (above - below) / (2 * shift), atol=1e-6)
    assert helmholtz(Estimate(value=exact.value), GRID.points).gradient is None
    assert helmholtz(Estimate(gradient=exact.gradient), GRID.points).value is None


@pytest.mark.parametrize("potential", [current_potential, entropy_potential])
def test_gradients_of_the_limits_of_tasep(potential):
    t = np.random.default_rng(0).uniform(0.05, 0.95, (200, 2))
    t = t[(np.abs(t - 0.5) > 1e-3).all(axis=1) & (np.abs(t[:, 0] - t[:, 1]) > 1e-3)]
    for axis in (0, 1):
        shift = 1e-6 * np.eye(2)[axis]
        slope = (potential(t + shift).value - potential(t - shift).value) / 2e-6
        np.testing.assert_allclose(potential(t).gradient[:, axis], slope, atol=1e-7)


def test_the_entropy_is_the_potential_of_the_fisher_metric_of_tasep():
    """What one more site adds to the exact metric tends to the Hessian of the limit, inside both phases."""
    point = np.array([[0.2, 0.9]])
    added = (Tasep(14).fisher_metric(point) - Tasep(10).fisher_metric(point))[0] / 4
    shift = np.array([[1e-4, 0.0]])
    bend = (entropy_potential(point + shift).gradient - entropy_potential(point - shift).gradient)[0] / 2e-4
    # The boundary layer shrinks with the number of sites, here to a percent or so.
    assert added[0, 0] == pytest.approx(bend[0], rel=0.03)
    assert np.abs(added[1]).max() < 0.03 * added[0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gauge": "shift"}, "gauge is 'shift', must be one of"),
        ({"estimate": Estimate(value=np.zeros(3))}, "has shape"),
        ({"estimate": Estimate(value=np.full(GRID.size, np.nan))}, "not finite"),
        ({"truth": Estimate(GRID.points[:, 0], np.ones((GRID.size, 2)))}, "affine"),
        ({"truth": Estimate(value=np.ones(GRID.size))}, "no value or no gradient"),
    ],
)
def test_what_cannot_be_scored_is_refused(change, message):
    arguments = {"estimate": truth(), "truth": truth(), "t": GRID.points} | change
    with pytest.raises(ValueError, match=message):
        table_scores(**arguments)


def test_an_estimate_without_values_has_no_score():
    assert np.isnan(table_scores(Estimate(), truth(), GRID.points).value)
    assert np.isnan(metric_scores(Estimate(), truth().metric, GRID).median)


# Metrics


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_lengths_in_a_constant_metric(interpolation):
    g = np.array([[2.0, 0.5], [0.5, 1.0]])
    found = segment_lengths(np.tile(g, (GRID.size, 1, 1)), GRID, interpolation=interpolation)
    pairs = itertools.combinations(GRID.points, 2)
    exact = [np.sqrt((b - a) @ g @ (b - a)) for a, b in pairs]
    np.testing.assert_allclose(found, exact, rtol=1e-12)


def test_lengths_converge_on_finer_grids():
    """In ``g = exp(2 x) 1`` the segment from a to b has length |b - a| (e^xb - e^xa) / (xb - xa)."""
    errors = {}
    for nodes in (9, 17):
        grid = Grid(((0.0, 1.0), (0.0, 1.0)), (nodes, nodes))
        g = np.exp(2 * grid.points[:, 0])[:, None, None] * np.eye(2)
        first, second = np.triu_indices(grid.size, 1)
        step = grid.points[second] - grid.points[first]
        # expm1(z) / z tends to 1 where both ends have the same x.
        z = np.where(step[:, 0] == 0, 1e-12, step[:, 0])
        exact = np.linalg.norm(step, axis=1) * np.exp(grid.points[first, 0]) * np.expm1(z) / z
        for interpolation in ("nearest", "bilinear"):
            found = segment_lengths(g, grid, interpolation=interpolation)
            errors[interpolation, nodes] = np.sqrt(np.mean((found / exact - 1) ** 2))
    # Nodes are symmetric about the segment's middle: second order for both, four times less with half the spacing.
    assert errors["bilinear", 9] / errors["bilinear", 17] == pytest.approx(4, rel=0.15)
    assert errors["nearest", 9] / errors["nearest", 17] > 2
    assert errors["nearest", 17] < 0.01


def brute_rank_error(found, true):
    """Over all pairs of pairs that the truth orders; a tie of the estimate is half a mistake."""
    score = told = 0.0
    for i, j in itertools.combinations(range(len(true)), 2):
        if true[i] != true[j]:
            told += 1
            score += (1 - np.sign(true[i] - true[j]) * np.sign(found[i] - found[j])) / 2
    return score / told


def test_rank_errors_against_brute_force():
    rng = np.random.default_rng(3)
    true = rng.integers(1, 20, 60).astype(float)  # ties in both
    found = true + rng.integers(-4, 5, 60)
    assert distance_rank_error(found, true) == pytest.approx(brute_rank_error(found, true), abs=1e-12)
    assert distance_rank_error(true, true) == pytest.approx(0, abs=1e-12)
    assert distance_rank_error(-true, true) == pytest.approx(1)
    assert distance_rank_error(np.ones(60), true) == 0.5
    # Rounding must not order what is equal.
    assert distance_rank_error(np.ones(60) + 1e-15 * rng.normal(size=60), true) == 0.5


def test_squared_errors_of_distances():
    true = np.array([1.0, 2.0, 3.0])
    assert distance_mse(true / 2, true) == pytest.approx(14 / 12)
    assert distance_mse(true / 2, true, scale=True) == pytest.approx(0, abs=1e-15)
    assert distance_mse(np.zeros(3), true, scale=True) == pytest.approx(14 / 3)


def test_scores_of_a_metric_off_by_a_factor():
    exact = truth().metric
    found = metric_scores(Estimate(metric=1.21 * exact), exact, GRID)
    assert found.median == pytest.approx(0.21)
    assert found.percentile_90 == pytest.approx(0.21)
    assert np.isnan(found.coverage)
    assert found.indefinite == 0
    # Lengths are 1.1 times as long, all of them.
    assert found.distance_mse == pytest.approx(0.01 * np.mean(segment_lengths(exact, GRID) ** 2))
    assert found.distance_mse_scaled < 1e-20
    assert found.distance_rank_error < 1e-6


def test_only_interior_nodes_count_for_errors_and_all_for_definiteness():
    exact = truth().metric
    spoilt = exact.copy()
    edge = ~interior(GRID, 1)
    spoilt[edge] = -spoilt[edge]
    found = metric_scores(Estimate(metric=spoilt), exact, GRID)
    assert found.percentile_90 == 0
    assert found.indefinite == pytest.approx(edge.mean())
    assert metric_scores(Estimate(metric=spoilt), exact, GRID, margin=0).percentile_90 == pytest.approx(2)
    assert interior(GRID, 2).sum() == 5 * 4


def test_coverage_of_honest_and_of_short_bars():
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (16, 16))
    rng = np.random.default_rng(5)
    exact = np.tile(10 * np.eye(2), (grid.size, 1, 1))
    error = np.abs(rng.normal(0.3, 0.05, exact.shape))
    error = (error + np.swapaxes(error, 1, 2)) / 2
    noise = error * rng.normal(size=exact.shape)
    noise[:, 1, 0] = noise[:, 0, 1]
    noisy = Estimate(metric=exact + noise, metric_error=error)
    # 768 independent entries at 95 %: standard error 0.8 %, and twice that for bars half as long.
    assert metric_scores(noisy, exact, grid, margin=0).coverage == pytest.approx(0.95, abs=0.025)
    short = Estimate(metric=exact + noise, metric_error=error / 2)
    assert metric_scores(short, exact, grid, margin=0).coverage == pytest.approx(0.673, abs=0.05)
    # A truth as uncertain as the estimate: the bars of the difference are sqrt 2 times as wide.
    both = metric_scores(noisy, exact, grid, margin=0, truth_error=error).coverage
    assert both == pytest.approx(0.9944, abs=0.006)


def test_the_constant_metric_is_isotropic_on_the_box():
    exact = truth().metric
    constant = constant_metric(exact, GRID).metric
    assert np.ptp(constant, axis=0).max() == 0
    assert constant[0, 0, 1] == 0
    assert np.einsum("nii->n", 4 * constant).mean() == pytest.approx(np.einsum("nii->n", 4 * exact).mean())
    assert metric_scores(Estimate(metric=constant), exact, GRID).distance_rank_error > 0.05


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda g: metric_scores(Estimate(metric=g[:3]), g, GRID), "the metric of the estimate has shape"),
        (lambda g: metric_scores(Estimate(metric=g), g * np.nan, GRID), "not finite"),
        (lambda g: metric_scores(Estimate(metric=g), g, GRID, margin=4), "margin is 4, must lie in 0..3"),
        (lambda g: segment_lengths(g, GRID, interpolation="cubic"), "must be one of nearest, bilinear"),
    ],
)
def test_bad_metrics_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(truth().metric)
