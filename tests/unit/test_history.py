"""The tree of phases, times of decision and the entropy clock, against flows of Gaussian mixtures that are exact."""

import numpy as np
import pytest
from gaussian_flow import final_phases, flow, responsibilities
from scipy.special import xlogy

from hessgeo.grids import Grid
from hessgeo.phases.decisions import crossing_curvature, crossings, decisions_of_curvature
from hessgeo.phases.history import (
    Decision,
    align,
    branches_at,
    decisions_of_maps,
    phase_tree,
    step_phases,
)
from hessgeo.phases.label_entropy import (
    half_interval,
    half_time,
    image_weights,
    label_entropy,
    prior_entropy,
)


def decided(grid, means, width, steps=40, draws=20, latents=None):
    """The final phases of a mixture's flow, which mode is nearest, and the decisions of its boundaries."""
    states, clean, signal, levels, end = flow(
        grid.points if latents is None else latents, means, width, steps
    )
    final, nearest = final_phases(end, means, grid.shape)
    on_nodes = [values.reshape(steps, *grid.shape, -1) for values in (states, clean)]
    across = crossings(on_nodes[0][0], final)
    bends = [
        crossing_curvature(x, d, on_nodes[1][-1], final, across, signal=alpha)
        for x, d, alpha in zip(*on_nodes, signal, strict=True)
    ]
    curvature = {pair: np.stack([bend[pair] for bend in bends]) for pair in across}
    return final, decisions_of_curvature(curvature, final, levels, draws=draws), nearest


def exact_level(distance, width):
    """Where the density half-way between two modes at +-distance turns from a top to a valley."""
    return np.sqrt(1 - 1 / (1 + distance**2 - width**2))


@pytest.mark.parametrize(("distance", "width"), [(1.0, 0.3), (2.0, 0.5), (0.8, 0.6)])
def test_a_symmetric_pair_decides_at_the_exact_noise_level(distance, width):
    turned = np.array([np.cos(0.4), np.sin(0.4)])
    grid = Grid(((-2.0, 2.0), (-2.0, 2.0)), (48, 48))
    _, (decision,), _ = decided(grid, distance * np.array([turned, -turned]), width)
    exact = exact_level(distance, width)
    assert decision.level == pytest.approx(exact, rel=0.05)
    assert decision.low <= exact <= decision.high


@pytest.mark.parametrize(("distance", "width"), [(3.0, 0.5), (4.0, 0.2)])
def test_a_slice_that_hardly_moves_from_mode_to_mode_shows_the_same_level(distance, width):
    rng, grid = np.random.default_rng(5), Grid(((-2.0, 2.0), (-2.0, 2.0)), (32, 32))
    plane = np.linalg.qr(rng.standard_normal((64, 2)))[0]
    axis = rng.standard_normal(64)
    axis *= distance / np.linalg.norm(axis)
    assert np.linalg.norm(axis @ plane) < 0.25 * distance
    _, (decision,), _ = decided(grid, np.array([axis, -axis]), width, latents=grid.points @ plane.T)
    assert decision.level == pytest.approx(exact_level(distance, width), rel=0.05)


def test_the_interval_shrinks_with_the_steps():
    means = np.array([[1.0, 0.0], [-1.0, 0.0]])
    grid = Grid(((-2.0, 2.0), (-2.0, 2.0)), (16, 16))
    spans = [
        decision.high - decision.low for n in (10, 40) for decision in decided(grid, means, 0.4, steps=n)[1]
    ]
    assert spans[1] < spans[0] / 3


def two_pairs(rng):
    """Modes of two pairs, far apart along one direction and nearer along the one across, and their width."""
    near, width = rng.uniform(0.7, 1.2), rng.uniform(0.2, 0.5)
    far = near * rng.uniform(1.5, 2.2)
    angle = rng.uniform(0, np.pi)
    along, across = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.array([s * far * along + u * near * across for s in (1, -1) for u in (1, -1)]), width, far, near


def test_pairs_part_before_what_is_within_them_in_every_mixture():
    rng, grid = np.random.default_rng(3), Grid(((-2.2, 2.2), (-2.2, 2.2)), (20, 20))
    for _ in range(20):
        means, width, far, near = two_pairs(rng)
        final, decisions, nearest = decided(grid, means, width, steps=25, draws=0)
        side = {label: nearest[final.ravel() == label][0] // 2 for label in range(1, 5)}
        between = [d.level for d in decisions if side[d.phases[0]] != side[d.phases[1]]]
        within = [d.level for d in decisions if side[d.phases[0]] == side[d.phases[1]]]
        assert min(between) > max(within)
        root = phase_tree(decisions, 4)[-1]
        assert root.level == pytest.approx(exact_level(far, width), rel=0.05)
        assert max(within) == pytest.approx(exact_level(near, width), rel=0.1)


def test_maps_of_the_predictions_find_the_same_order():
    means, width, *_ = two_pairs(np.random.default_rng(0))
    grid = Grid(((-2.2, 2.2), (-2.2, 2.2)), (32, 32))
    final, by_curvature, _ = decided(grid, means, width, steps=20, draws=0)
    _, clean, _, levels, end = flow(grid.points, means, width, 20)
    maps = step_phases(
        clean.reshape(20, *grid.shape, 2),
        end.reshape(*grid.shape, 2),
        grid,
        persistence=0.5,
        minimum_area=0.02,
        smoothing=1.0,
    )
    by_maps = decisions_of_maps(np.stack([m.label for m in maps]), final, levels, draws=20)
    assert phase_tree(by_maps, 4)[-1].children
    first = phase_tree(by_curvature, 4)
    second = phase_tree(by_maps, 4)
    halves = [
        {first[child].phases for child in first[-1].children},
        {second[c].phases for c in second[-1].children},
    ]
    assert halves[0] == halves[1]


def test_decisions_of_maps_are_between_the_steps_that_differ():
    final = np.repeat([1, 2, 3], 4)[:, None] * np.ones((1, 8), int)
    one, halves = np.ones_like(final), np.where(final == 3, 2, 1)
    labels, levels = np.stack([one, halves, halves, final]), np.array([0.9, 0.7, 0.5, 0.2])
    found = {d.phases: d for d in decisions_of_maps(labels, final, levels, draws=50)}
    assert found[2, 3].level == pytest.approx(0.8)
    assert (found[2, 3].low, found[2, 3].high) == (0.7, 0.9)
    assert found[1, 2].level == pytest.approx(0.35)
    assert (1, 3) not in found


def test_phases_that_join_again_are_parted_from_the_last_time_on():
    final = np.repeat([1, 2], 8)[:, None] * np.ones((1, 16), int)
    one = np.ones_like(final)
    (decision,) = decisions_of_maps(np.stack([final, one, final]), final, np.array([0.8, 0.5, 0.1]), draws=0)
    assert decision.level == pytest.approx(0.3)
    (never,) = decisions_of_maps(np.stack([final, one]), final, np.array([0.8, 0.5]), draws=0)
    assert (never.level, never.low) == (0.0, 0.0)


def test_levels_must_fall():
    final = np.repeat([1, 2], 8)[:, None] * np.ones((1, 16), int)
    with pytest.raises(ValueError, match="levels must fall"):
        decisions_of_maps(np.stack([final, final]), final, np.array([0.2, 0.5]), draws=0)
    with pytest.raises(ValueError, match="a map of one shape for each level"):
        decisions_of_maps(final[None], final, np.array([0.5, 0.2]), draws=0)


def decision(i, j, level, places=10):
    return Decision((i, j), level, level, level, places)


def test_the_tree_joins_the_latest_first():
    tree = phase_tree([decision(1, 2, 0.3), decision(2, 3, 0.8), decision(1, 3, 0.7), decision(3, 4, 0.1)], 4)
    root = tree[-1]
    assert root.phases == (1, 2, 3, 4)
    # Two boundaries of equal length lead from half to half: their mean.
    assert root.level == pytest.approx(0.75)
    assert {tree[child].phases for child in root.children} == {(1, 2), (3, 4)}
    assert [branch.phases for branch in branches_at(tree, 0.5)] == [(3, 4), (1, 2)]
    assert [branch.phases for branch in branches_at(tree, 0.2)] == [(1,), (2,), (3, 4)]
    assert [branch.phases for branch in branches_at(tree, 0.0)] == [(1,), (2,), (3,), (4,)]
    assert [branch.phases for branch in branches_at(tree, 1.0)] == [(1, 2, 3, 4)]


def test_a_short_boundary_holds_no_two_branches_together():
    longer = [decision(1, 2, 0.2, 30), decision(2, 3, 0.8, 30), decision(1, 3, 0.3, 2)]
    tree = phase_tree(longer, 3)
    assert tree[-1].level == pytest.approx((30 * 0.8 + 2 * 0.3) / 32)
    assert [branch.phases for branch in branches_at(tree, 0.5)] == [(3,), (1, 2)]


def test_what_parts_at_one_level_parts_at_once():
    tree = phase_tree([decision(1, 2, 0.5), decision(2, 3, 0.5)], 3)
    assert len(tree) == 4
    assert tree[-1].children == (0, 1, 2)


def test_a_tree_of_one_phase_is_a_leaf():
    (leaf,) = phase_tree([], 1)
    assert (leaf.phases, leaf.born) == ((1,), 1.0)


def test_a_tree_needs_phases_that_hang_together():
    with pytest.raises(ValueError, match="do not join all of the 3"):
        phase_tree([decision(1, 2, 0.5)], 3)


def test_alignment_finds_the_same_boundaries_under_other_labels():
    first = np.repeat([1, 2, 3], 4)[:, None] * np.ones((1, 8), int)
    renamed = np.array([0, 3, 1, 2])[first]
    decisions = [decision(1, 2, 0.3), decision(2, 3, 0.8)]
    others = [decision(1, 3, 0.2), decision(1, 2, 0.9)]
    same = align(first, renamed, (decisions, others))
    assert same.leaves == {1: 3, 2: 1, 3: 2}
    assert same.shared == 1
    assert same.pairs == {(1, 2): (0.3, 0.2), (2, 3): (0.8, 0.9)}
    assert same.concordance == pytest.approx(1)
    swapped = align(first, renamed, (decisions, [decision(1, 3, 0.9), decision(1, 2, 0.2)]))
    assert swapped.concordance == pytest.approx(-1)


def test_the_entropy_of_a_mixture_is_found_from_its_samples():
    rng, alpha, width = np.random.default_rng(1), 0.6, 0.3
    sigma = np.sqrt(1 - alpha**2)
    means = np.array([[1.0], [-1.0]])
    label = rng.integers(2, size=6000)
    clean = means[label] + width * rng.standard_normal((6000, 1))
    x = alpha * clean[:500] + sigma * rng.standard_normal((500, 1))
    share = responsibilities(x, means, width, alpha)
    exact = -xlogy(share, share).sum(axis=1)
    errors = []
    for n in (375, 6000):
        weights = image_weights(x, clean[:n], signal=alpha, noise=sigma)
        errors.append(np.abs(label_entropy(weights, label[:n]) - exact).mean())
    assert errors[1] < 0.02
    # Sixteen times the samples, a fourth of the error; half of that to spare.
    assert errors[1] < errors[0] / 2


def test_a_state_does_not_know_its_own_image():
    clean, label = np.array([[0.0], [5.0], [5.1]]), np.array([1, 2, 2])
    state = np.array([[2.5]])
    told = image_weights(state, clean, signal=1.0, noise=10.0)
    left_out = image_weights(state, clean, signal=1.0, noise=10.0, own=np.array([0]))
    assert label_entropy(told, label) > 0.5
    assert label_entropy(left_out, label) == pytest.approx(0)


def test_the_clock_says_when_half_of_the_entropy_is_gone():
    prior = prior_entropy(np.array([1, 1, 2, 2]))
    assert prior == pytest.approx(np.log(2))
    levels, entropies = np.array([0.9, 0.8, 0.6, 0.1]), prior * np.array([1.0, 0.75, 0.25, 0.0])
    assert half_time(entropies, levels, prior) == pytest.approx(0.7)
    assert half_time(prior * np.ones(4), levels, prior) == 0
    same = half_interval(entropies[:, None] * np.ones(5), levels, prior, draws=9, confidence=0.9, seed=0)
    assert same == pytest.approx((0.7, 0.7))
