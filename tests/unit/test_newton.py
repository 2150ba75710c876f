"""The damped Newton loop, on losses whose minimum, decrement and failures are known."""

from dataclasses import dataclass

import numpy as np
import pytest

from hessgeo.numerics.newton import NoDescentError, minimise


@dataclass(frozen=True)
class Quadratic:
    """``x' A x / 2`` with the step of ``A`` times ``stiffer``."""

    x: np.ndarray
    stiffer: float = 1.0
    a = np.array([[2.0, 0.5], [0.5, 1.0]])

    @property
    def loss(self):
        return float(self.x @ self.a @ self.x) / 2

    def newton(self):
        gradient = self.a @ self.x
        step = -np.linalg.solve(self.stiffer * self.a, gradient)
        return step, -float(gradient @ step) / 2

    def moved(self, step, length):
        return Quadratic(self.x + length * step, self.stiffer)


@dataclass(frozen=True)
class LogCosh:
    """``log cosh x``, on which undamped steps from beyond 1.09 fly off; infinite beyond ``wall``."""

    x: float
    wall: float = np.inf

    @property
    def loss(self):
        return np.log(np.cosh(self.x)) if abs(self.x) < self.wall else np.inf

    def newton(self):
        slope, bend = np.tanh(self.x), 1 / np.cosh(self.x) ** 2
        return -slope / bend, slope**2 / bend / 2

    def moved(self, step, length):
        return LogCosh(self.x + length * step, self.wall)


def test_one_step_solves_a_quadratic_and_the_decrement_is_what_it_lost():
    start = Quadratic(np.array([3.0, -1.0]))
    assert start.newton()[1] == pytest.approx(start.loss, rel=1e-14)  # that of a quadratic is its height
    found = minimise(start, tolerance=1e-20, max_iterations=5, what="test")
    assert (found.converged, found.iterations) == (True, 1)
    np.testing.assert_allclose(found.point.x, 0, atol=1e-15)


def test_steps_are_halved_where_a_full_one_overshoots():
    found = minimise(LogCosh(2.0), tolerance=1e-12, max_iterations=30, what="test")
    assert found.converged
    assert found.iterations > 1
    assert found.decrement <= 1e-12
    # The decrement bounds the height above the minimum where a loss is this nearly quadratic.
    assert found.point.loss == pytest.approx(found.decrement, rel=0.01, abs=1e-15)


def test_an_infinite_loss_is_never_entered():
    found = minimise(LogCosh(1.5, wall=1.6), tolerance=1e-12, max_iterations=30, what="test")
    assert found.converged


def test_the_steps_are_counted_and_the_decrement_is_that_of_the_last_point():
    stiff = Quadratic(np.array([1.0, 1.0]), stiffer=4.0)
    found = minimise(stiff, tolerance=0.0, max_iterations=3, what="test")
    assert (found.converged, found.iterations) == (False, 3)
    # Each step leaves three quarters of the way.
    np.testing.assert_allclose(found.point.x, 0.75**3, rtol=1e-14)
    assert found.decrement == pytest.approx(found.point.newton()[1], rel=1e-14)
    assert minimise(stiff, tolerance=1e9, max_iterations=3, what="test").iterations == 0


def test_a_direction_that_leads_up_is_refused():
    uphill = Quadratic(np.array([1.0, 1.0]), stiffer=-1.0)
    # Its decrement is negative, which would pass for converged: a tolerance below it asks for a step.
    with pytest.raises(NoDescentError, match="test: no step along Newton's direction lowers the loss of 2 "):
        minimise(uphill, tolerance=-1e9, max_iterations=3, what="test")


@pytest.mark.parametrize(("rounding", "passes"), [(0.0, False), (1e-12, True)])
def test_a_rise_within_rounding_is_taken_only_where_it_is_allowed(rounding, passes):
    @dataclass(frozen=True)
    class Noisy(LogCosh):
        """Every new point reads higher by a rounding."""

        read: float = 1e3

        @property
        def loss(self):
            return self.read

        def moved(self, step, length):
            return Noisy(self.x + length * step, self.wall, self.read + 1e-10)

    start = Noisy(1e-4)

    def run():
        return minimise(start, tolerance=1e-12, max_iterations=5, what="test", rounding=rounding)

    if passes:
        assert run().converged
    else:
        with pytest.raises(NoDescentError):
            run()


def test_a_prepared_point_is_where_the_step_starts():
    found = minimise(
        LogCosh(3.0), tolerance=1e-12, max_iterations=9, what="test", prepare=lambda p: LogCosh(p.x / 8)
    )
    assert found.converged
    assert abs(found.point.x) < 1e-6
