"""Figures of solvable systems: the numbers beside them are those drawn, and they stay within their page."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from printed import assert_printable, assert_whole

from hessgeo.estimators.estimate import Estimate
from hessgeo.evaluation.finite_size import heat_capacity, heat_capacity_peak
from hessgeo.evaluation.flow_boundaries import noise_table
from hessgeo.evaluation.gauge import affine_in_natural
from hessgeo.evaluation.sharpening import sharpening
from hessgeo.evaluation.table_scores import table_scores
from hessgeo.evaluation.tasep_potentials import current_potential, entropy_potential
from hessgeo.figures import (
    curvature_comparison,
    finite_size_scaling,
    fisher_comparison,
    hessian_convergence,
    ising_free_energy,
    learned_statistics,
    mode_pair,
    noisy_flow,
    posterior_sharpening,
    sample_convergence,
    style,
    tasep_free_energy,
)
from hessgeo.figures.parameter_plane import fitted_slope
from hessgeo.figures.saving import save_figure
from hessgeo.grids import Grid
from hessgeo.systems.solvable.base import TEMPERATURE_FIELD
from hessgeo.systems.solvable.curie_weiss import CurieWeiss
from hessgeo.systems.solvable.ising import CRITICAL_TEMPERATURE

PLANE = Grid(((1.0, 5.0), (-2.0, 2.0)), (9, 8))
RATES = Grid(((0.05, 0.95), (0.05, 0.95)), (10, 10))
NATURAL = affine_in_natural(PLANE.points, TEMPERATURE_FIELD)
RNG = np.random.default_rng(0)


def spins():
    """Curie-Weiss in (T, H), a site."""
    system = CurieWeiss(16, coordinates=TEMPERATURE_FIELD)
    exact = system.cumulants(system.natural(PLANE.points))
    slope = np.einsum("nij,ni->nj", system.jacobian(PLANE.points), exact.mean)
    return Estimate(exact.log_partition / 16, slope / 16, system.pulled_back_metric(PLANE.points))


def off(exact):
    """An estimate in another gauge, with a wave on it."""
    x = PLANE.points[:, 0]
    wave = 0.05 * np.stack([np.cos(x), np.zeros(len(x))], axis=1)
    slopes = np.einsum("k,nkj->nj", [1.0, 2.0, -1.0], NATURAL.gradients)
    value = exact.value + NATURAL.values @ [1.0, 2.0, -1.0] + 0.05 * np.sin(x)
    return Estimate(value, exact.gradient + slopes + wave)


def runs():
    """Errors that fall as powers of n, with noise, of two methods on two systems."""
    rows = [
        (system, method, n, seed, c * n**-power * np.exp(0.02 * np.random.default_rng(seed).normal()))
        for system in ("Ising", "TASEP")
        for method, c, power in (("learned", 3.0, 0.5), ("means", 5.0, 0.25))
        for n in (100, 1000, 10_000)
        for seed in range(3)
    ]
    return pd.DataFrame(rows, columns=["system", "method", "samples", "seed", "error"])


def fits():
    rows = [("b", 500, 1e-3, 0.3, 0.1), ("b", 2000, 1e-5, 0.03, 0.01), ("a", 8, 1e-4, 0.2, 0.1)]
    return pd.DataFrame(rows, columns=["series", "step", "loss", "largest", "rms"])


def heat():
    t = np.linspace(1.8, 3.0, 21)
    curves = [
        pd.DataFrame({"side": s, "temperature": t, "heat_capacity": heat_capacity(t, s)}) for s in (4, 8)
    ]
    peaks = [{"side": s, **heat_capacity_peak(s)._asdict()} for s in (16, 4, 8)]
    dots = pd.DataFrame({"side": 4, "temperature": [2.0, 2.5], "heat_capacity": [0.6, 0.8], "error": 0.05})
    return pd.concat(curves), pd.DataFrame(peaks), dots


def metrics():
    exact = spins().metric
    indefinite = exact.copy()
    indefinite[3] *= -1
    return {
        "good": 1.1 * exact,
        "bad": 2 * exact,
        "indefinite": indefinite,
        "x": exact * 1.01,
        "y": exact * 3,
    }, exact


def draw_all():
    system = CurieWeiss(8)
    grid = Grid(((0.2, 1.4), (-0.4, 0.4)), (9, 9))
    learned = RNG.normal(size=(400, 3))
    exact = learned[:, :2] @ [[1.0, 0.2], [0.0, 1.0]] + 0.3
    curvature = curvature_comparison.Curvature
    wave = np.sin(10 * PLANE.points[:, 0]) * 20
    parts = [
        curvature("A", PLANE, ("T", "H"), 1.2 * wave, wave),
        curvature("B", RATES, ("K", "h"), wave[:1].repeat(100), np.ones(100)),
    ]
    return {
        "ising": ising_free_energy.draw(off(spins()), spins(), PLANE, gauge_coordinates=NATURAL),
        "tasep": tasep_free_energy.draw(
            entropy_potential(RATES.points), current_potential(RATES.points), RATES
        ),
        "statistics": learned_statistics.draw(learned, exact),
        "samples": sample_convergence.draw(runs(), panel="system"),
        "samples_of_one": sample_convergence.draw(runs().query("system == 'Ising'")),
        "sharpening": posterior_sharpening.draw(
            sharpening(system, grid, (0.8, 0.1), [1, 4, 16, 64], draws=3), grid
        ),
        "hessian": hessian_convergence.draw(fits()),
        "sizes": finite_size_scaling.draw(*heat()),
        "curvature": curvature_comparison.draw(parts),
        "fisher": fisher_comparison.draw(*metrics(), PLANE, names=("T", "H")),
        "volume": fisher_comparison.draw(*metrics(), PLANE, names=("T", "H"), quantity="volume"),
        "pair": mode_pair.draw(**mode_pair.gather([])),
        "noise": noisy_flow.draw(
            noise_table(0.3, 3, noisy_flow.ETAS, np.linspace(-2, 2, 21), tuple(noisy_flow.RULES)),
            sigma=0.3,
            steps=3,
        ),
    }


@pytest.fixture(scope="module")
def drawn():
    return draw_all()


FIGURES = (
    "ising",
    "tasep",
    "statistics",
    "samples",
    "samples_of_one",
    "sharpening",
    "hessian",
    "sizes",
    "curvature",
    "fisher",
    "volume",
    "pair",
    "noise",
)


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_cut_off_and_no_labels_meet(drawn, name):
    figure, table = drawn[name]
    assert len(table) > 0
    with style.theme():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        boxes = [(text, text.get_window_extent(canvas.get_renderer())) for text in labels(figure)]
    assert_whole(figure)
    assert_printable(figure)
    for k, (first, here) in enumerate(boxes):
        for second, there in boxes[k + 1 :]:
            assert not here.overlaps(there), (first.get_text(), second.get_text())


def labels(figure):
    """Names of axes, of colour bars and of panels, and their letters."""
    axes = [axes for outer in figure.axes for axes in (outer, *outer.child_axes) if axes.name != "3d"]
    named = [text for each in axes for text in (each.xaxis.label, each.yaxis.label, each.title, *each.texts)]
    # Numbers at marks may lie over lines and, where fits are alike, over each other.
    return [text for text in named if text.get_text() and not text.get_text().replace(",", "").isdigit()]


def test_the_same_input_gives_the_same_bytes(drawn, tmp_path):
    again = fisher_comparison.draw(*metrics(), PLANE, names=("T", "H"))
    for k, (figure, table) in enumerate((drawn["fisher"], again)):
        save_figure(figure, table, *(tmp_path / f"{k}.{suffix}" for suffix in ("svg", "png", "csv")))
    for suffix in ("svg", "png", "csv"):
        assert (tmp_path / f"0.{suffix}").read_bytes() == (tmp_path / f"1.{suffix}").read_bytes()


def titles(figure):
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_the_differences_shown_are_those_scored(drawn):
    figure, table = drawn["ising"]
    scores = table_scores(off(spins()), spins(), PLANE.points, gauge_coordinates=NATURAL)
    for column, score in (("F", scores.value), ("dF_dT", scores.first), ("dF_dH", scores.second)):
        difference = table[f"{column}_difference"]
        assert np.sqrt((difference**2).mean()) == pytest.approx(score)
        np.testing.assert_allclose(
            difference, table[f"{column}_estimate"] - table[f"{column}_exact"], atol=1e-13
        )
        assert f"difference, rms {style.number(score)}" in titles(figure)
    np.testing.assert_array_equal(table[["T", "H"]], PLANE.points)
    rings = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "o"]
    assert len(rings) == 9
    for ring in rings:
        np.testing.assert_allclose(ring.get_xydata()[0], [CRITICAL_TEMPERATURE, 0])


def test_no_ring_outside_of_the_box():
    figure, _ = ising_free_energy.draw(off(spins()), spins(), PLANE, critical=(9.0, 0.0))
    assert not any(axes.lines for axes in figure.axes)
    with pytest.raises(ValueError, match="must both have a value and a gradient"):
        ising_free_energy.draw(Estimate(spins().value), spins(), PLANE)


def test_the_cuts_of_tasep_are_rows_of_its_table(drawn):
    figure, table = drawn["tasep"]
    diagonal = table[table["alpha"] == table["beta"]]
    by_label = [{line.get_label(): line for line in axes.lines} for axes in figure.axes[1:3]]
    np.testing.assert_allclose(by_label[0]["exact"].get_ydata(), diagonal["exact"], atol=1e-12)
    np.testing.assert_allclose(by_label[0]["estimate"].get_ydata(), diagonal["estimate"], atol=1e-12)
    nearest = table[np.isclose(table["beta"], 0.75)]
    assert len(nearest) == 10
    np.testing.assert_allclose(by_label[1]["estimate"].get_ydata(), nearest["estimate"], atol=1e-12)


def test_learned_statistics_are_matched_by_an_affine_map(drawn):
    _, table = drawn["statistics"]
    assert table["r_squared"].min() == pytest.approx(1)
    for _, part in table.groupby("statistic"):
        assert part["count"].sum() == 400
        # Centres of hexagons on the diagonal, half a hexagon off at most.
        assert np.abs(part["exact"] - part["learned"]).max() < 0.4
    noise = RNG.normal(size=(2000, 1))
    match = learned_statistics.affine_match(noise, noise + RNG.normal(size=(2000, 1)))
    assert match.r_squared[0] == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: learned_statistics.affine_match(np.ones((3, 1)), np.ones((4, 1))), "must be as many"),
        (lambda: learned_statistics.affine_match(np.ones((3, 1)), np.ones((3, 1))), "must vary"),
        (lambda: learned_statistics.draw(np.ones((3, 1)), np.ones((3, 1))), "2 names of 1 statistics"),
        (lambda: sample_convergence.draw(runs().drop(columns="error")), r"lack the columns \['error'\]"),
        (lambda: sample_convergence.draw(runs().assign(error=0.0)), "is not positive"),
        (lambda: hessian_convergence.draw(fits().drop(columns="rms")), r"lack the columns \['rms'\]"),
        (lambda: hessian_convergence.draw(fits().assign(loss=0.0)), "is not positive"),
        (lambda: finite_size_scaling.draw(heat()[0], heat()[1].iloc[:1]), "must have at least 2"),
        (lambda: finite_size_scaling.draw(heat()[0], heat()[0]), "peaks lack the columns"),
        (lambda: curvature_comparison.draw([]), "must be at least one"),
        (lambda: fisher_comparison.draw({}, metrics()[1], PLANE, names=("T", "H")), "at least one"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_slopes_are_those_of_the_runs(drawn):
    figure, table = drawn["samples"]
    assert len(table) == 2 * 2 * 3
    learned = table[table["method"] == "learned"]
    np.testing.assert_allclose(learned["slope"], -0.5, atol=0.02)
    np.testing.assert_allclose(table.loc[table["method"] == "means", "slope"], -0.25, atol=0.02)
    assert (table["runs"] == 3).all()
    first = runs().query("system == 'Ising' and method == 'learned' and samples == 100")["error"]
    assert learned["error"].iloc[0] == pytest.approx(np.exp(np.log(first).mean()))
    assert any(text.startswith("learned (\u22120.5") for text in titles(figure))


def test_a_fitted_slope_and_its_error():
    x = np.geomspace(1, 1e4, 200)
    y = 3 * x**-0.5 * np.exp(0.1 * np.random.default_rng(1).normal(size=200))
    slope, error = fitted_slope(x, y)
    assert abs(slope + 0.5) < 4 * error
    # Deviation 0.1 over the root of 200 times the variance of log x, (4 log 10)^2 / 12.
    assert error == pytest.approx(0.1 / np.sqrt(200 * (4 * np.log(10)) ** 2 / 12), rel=0.2)
    assert np.isnan(fitted_slope(x[:2], y[:2])[1])


def test_profiles_end_at_the_divergence(drawn):
    _, table = drawn["sharpening"]
    for panel, largest in (("A", 0.0), ("B", 0.0)):
        limit = table[(table["panel"] == panel) & (table["name"] == "minus_divergence")]
        assert len(limit) == 9
        assert limit["value"].max() == pytest.approx(largest, abs=1e-12)
    errors = table[table["panel"] == "C"]
    assert errors.groupby("name").size().to_dict() == {"rms": 4, "supremum": 4}


def test_fits_keep_their_order_and_slopes(drawn):
    _, table = drawn["hessian"]
    assert table["series"].to_list() == ["b", "b", "a"]
    np.testing.assert_allclose(table["slope_largest"][:2], 0.5)
    assert np.isnan(table["slope_rms"][2])


def test_the_figure_of_sizes_shows_curves_dots_and_peaks(drawn):
    figure, table = drawn["sizes"]
    assert table["kind"].value_counts().to_dict() == {"exact": 42, "peak": 3, "measured": 2}
    assert any("limit 0.4945" in text for text in titles(figure))


def test_indefinite_metrics_have_no_volume_and_are_hatched(drawn):
    figure, table = drawn["volume"]
    missing = table[table["volume"].isna()]
    assert missing["method"].to_list() == ["indefinite"]
    assert (
        sum(len(axes.collections) > 0 and axes.collections[0].get_hatch() is not None for axes in figure.axes)
        == 1
    )
    good = table[table["method"] == "good"]
    exact = table[table["method"] == "exact"]
    np.testing.assert_allclose(good["volume"].to_numpy(), 1.1 * exact["volume"].to_numpy())
    np.testing.assert_allclose(good["relative_error"], 0.1)
    assert "good\nmedian error 10 %" in titles(figure)


def test_curvatures_of_all_systems_are_in_the_table(drawn):
    _, table = drawn["curvature"]
    assert table.groupby("system").size().to_dict() == {"A": 72, "B": 100}
    part = table[table["system"] == "A"]
    np.testing.assert_allclose(part["fitted"], 1.2 * part["exact"])
