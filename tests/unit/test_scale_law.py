"""Laws over a cascade of windows: maps whose Lipschitz constant is known, in several precisions and units."""

import numpy as np
import pytest
import torch
from scipy.special import erf, ndtr

from hessgeo.phases import judge_scales

WIDTHS = 10.0 ** -np.arange(0, 9)
NODES = 48


def two_modes(z, sigma, mode):
    """The flow that takes a normal variable to an equal mixture at ``+-mode``: monotone transport, by bisection."""
    low, high = np.full_like(z, -mode - 9 * sigma), np.full_like(z, mode + 9 * sigma)
    for _ in range(200):
        x = (low + high) / 2
        # F(x) - 1/2 as one difference of like signs, so that nothing cancels about the boundary.
        mass = (erf((x - mode) / (sigma * 2**0.5)) + erf((x + mode) / (sigma * 2**0.5))) / 4
        below = mass < (ndtr(z) - ndtr(-z)) / 2
        low, high = np.where(below, x, low), np.where(below, high, x)
    return x


def cascade(function, widths=WIDTHS, centre=0.0):
    """Largest difference quotient in each window, and the spacing of its nodes."""
    offsets = np.linspace(-0.5, 0.5, NODES)
    outputs = [function(centre + width * offsets) for width in widths]
    spacing = widths / (NODES - 1)
    return np.array([np.abs(np.diff(x)).max() for x in outputs]) / spacing, spacing


@pytest.mark.parametrize("sigma", [0.3, 0.4, 0.5, 0.7, 1.0])
@pytest.mark.parametrize("unit_variance", [False, True])
def test_the_flow_of_two_modes_saturates_at_the_exact_constant(sigma, unit_variance):
    mode = np.sqrt(1 - sigma**2) if unit_variance else 1.0
    values, spacing = cascade(lambda z: two_modes(z, sigma, mode))
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=1e-14)
    assert law.verdict == "saturates"
    assert law.value == pytest.approx(sigma * np.exp(mode**2 / (2 * sigma**2)), rel=0.01)
    assert law.low < sigma * np.exp(mode**2 / (2 * sigma**2)) < law.high
    assert judge_scales(WIDTHS, values).verdict == "saturates"


def test_a_steep_flow_seen_only_above_its_crossover_diverges_so_far():
    # At sigma = .2 the constant is 53,700: above a width of 1e-3 the map is a jump of one.
    wide = 0.5 ** np.arange(0, 6)
    values, _ = cascade(lambda z: two_modes(z, 0.2, 1.0), wide)
    law = judge_scales(wide, values, noise=0.05)
    assert law.verdict == "diverges"
    assert law.value < 0.2 * np.exp(12.5)
    values, _ = cascade(lambda z: two_modes(z, 0.2, 1.0))
    assert judge_scales(WIDTHS, values, resolution=1e-12).verdict == "saturates"


@pytest.mark.parametrize("power", [0.1, 0.3, 0.5, 0.8])
def test_cusps_diverge_with_their_exponent(power):
    values, spacing = cascade(lambda t: np.abs(t) ** power)
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=1e-16)
    assert law.verdict == "diverges"
    assert law.exponent == pytest.approx(1 - power, abs=1e-6)
    assert law.low < 1 - power < law.high


def test_a_jump_diverges_with_exponent_one():
    values, spacing = cascade(lambda t: 0.3 * t + (t > 0))
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=1e-15)
    assert law.verdict == "diverges"
    assert law.exponent == pytest.approx(1, abs=0.01)


def test_a_small_jump_needs_a_known_rounding():
    values, spacing = cascade(lambda t: t + 1e-4 * (t > 0))
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=1e-15)
    assert (law.verdict, law.limit) == ("diverges", pytest.approx(np.nan, nan_ok=True))
    blind = judge_scales(WIDTHS[:6], values[:6], spacing=spacing[:6])
    assert blind.verdict != "diverges"


@pytest.mark.parametrize(
    ("dtype", "verdict"),
    [
        (torch.float32, "saturates"),
        (torch.float16, "limited by precision"),
        (torch.bfloat16, "limited by precision"),
    ],
)
def test_rounding_is_told_from_divergence(dtype, verdict):
    sigma, centre = 0.5, 0.0

    def rounded(z):
        # About the boundary outputs are as small as the window; decoders add them to something of size one.
        return (torch.from_numpy(1 + two_modes(z, sigma, 1.0)).to(dtype)).double().numpy()

    values, spacing = cascade(rounded, centre=centre)
    resolution = torch.finfo(dtype).eps
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=resolution)
    assert law.verdict == verdict
    # Differences of eight roundings, at the exact constant.
    exact = sigma * np.exp(1 / (2 * sigma**2))
    expected = 8 * resolution * (NODES - 1) / exact
    assert expected / 10 < law.limit <= 1.5 * expected
    if verdict == "saturates":
        assert law.value == pytest.approx(exact, rel=0.01)
    # Without knowing the rounding the same, though perhaps a window later: never a divergence.
    blind = judge_scales(WIDTHS, values, spacing=spacing)
    assert blind.verdict in (verdict, "saturates", "limited by precision")


def test_roundings_that_add_up_are_no_divergence():
    rng = np.random.default_rng(0)
    values, spacing = cascade(lambda z: two_modes(z, 0.5, 1.0) + 2e-6 * rng.standard_normal(len(z)))
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=2.0**-23)
    assert law.verdict == "saturates"
    # The narrowest window used is off by up to two errors, 4 %, and nothing tells that it is.
    assert law.value == pytest.approx(0.5 * np.exp(2), rel=0.06)
    assert law.low < 0.5 * np.exp(2) < law.high


def test_equal_outputs_are_the_arithmetics():
    law = judge_scales(WIDTHS, np.zeros(9))
    assert law.verdict == "limited by precision"
    assert law.limit == WIDTHS[0]
    assert len(law.used) == 0


def test_a_curve_that_has_passed_its_crossover_saturates_though_nothing_is_flat_yet():
    widths = 0.5 ** np.arange(0, 9)
    law = judge_scales(widths, 7 / (1 + widths / 0.02), noise=0.002)
    assert law.verdict == "saturates"
    assert law.low < 7 < law.high
    assert law.value == pytest.approx(7, rel=0.02)
    # Before it, nothing is said.
    early = judge_scales(widths[:6], 7 / (1 + widths[:6] / 0.02), noise=0.002)
    assert early.verdict == "not resolved"
    assert "bend" in early.reason


def test_too_few_windows_decide_nothing():
    assert judge_scales(WIDTHS[:3], 1 / WIDTHS[:3]).verdict == "not resolved"
    close = 1 / 1.5 ** np.arange(4)
    assert judge_scales(close, 1 / close).verdict == "not resolved"


def test_nothing_depends_on_units_or_order():
    values, spacing = cascade(lambda z: two_modes(z, 0.5, 1.0))
    law = judge_scales(WIDTHS, values, spacing=spacing, resolution=1e-6)
    scaled = judge_scales(
        1e5 * WIDTHS[::-1], 1e-9 * values[::-1], spacing=1e5 * spacing[::-1], resolution=1e-10
    )
    assert scaled.verdict == law.verdict
    assert scaled.exponent == pytest.approx(law.exponent, abs=1e-9)
    assert (scaled.value, scaled.low, scaled.high) == pytest.approx(
        tuple(1e-9 * x for x in (law.value, law.low, law.high)), rel=1e-9
    )
    assert scaled.limit == pytest.approx(1e5 * law.limit)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_intervals_cover_under_noise(gamma):
    rng = np.random.default_rng(5)
    covered, words = 0, []
    for _ in range(40):
        values = 3 * WIDTHS**-gamma * np.exp(0.05 * rng.standard_normal(9))
        law = judge_scales(WIDTHS, values, noise=0.05)
        words.append(law.verdict)
        truth = gamma if law.verdict == "diverges" else 3.0
        covered += law.low <= truth <= law.high
    right = "diverges" if gamma else "saturates"
    # Nine residuals stay within two errors in two of three cascades; else a shorter one is used, or none.
    assert words.count(right) >= 32
    assert covered >= 32
    assert set(words) <= {right, "not resolved"}


@pytest.mark.parametrize(
    ("widths", "values", "options", "named"),
    [
        ([1.0, 0.1], [1.0], {}, "as many"),
        ([1.0, 1.0], [1.0, 2.0], {}, "no two widths alike"),
        ([1.0, -1.0], [1.0, 2.0], {}, "positive"),
        ([1.0, 0.1], [1.0, -2.0], {}, "negative"),
        ([1.0, 0.1], [1.0, 2.0], {"noise": 0.0}, "noise must be positive"),
    ],
)
def test_bad_input_is_named(widths, values, options, named):
    with pytest.raises(ValueError, match=named):
        judge_scales(widths, values, **options)
