"""Phases of eigenvalue maps whose ridges are those of a Voronoi diagram."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial import Voronoi
from scipy.special import gammaln, softmax
from sklearn.metrics import adjusted_rand_score

from hessgeo.grids import Grid
from hessgeo.phases import (
    boundary_lines,
    boundary_strengths,
    medoids,
    segment_phases,
    size_verdict,
    triple_points,
)
from hessgeo.phases.significance import noise_level, noise_persistence, second_persistence

GRID = Grid(((-1.0, 2.0), (0.0, 2.0)), (73, 49))
SETTINGS = {"persistence": 1.0, "minimum_area": 0.02, "smoothing": 1.0}
CENTRES = {
    2: [(-0.5, 1.0), (1.3, 0.8)],
    3: [(-0.5, 0.4), (1.5, 0.5), (0.4, 1.7)],
    4: [(-0.4, 0.5), (1.5, 0.3), (0.3, 1.7), (1.7, 1.6)],
}


def voronoi(centres, width=0.06, height=50.0):
    """Labels of the nearest centre, and an eigenvalue with a ridge of that width where two are equally near."""
    distance = np.linalg.norm(GRID.points[:, None] - np.array(centres), axis=-1)
    near = np.sort(distance, axis=1)
    # (d2 - d1) / 2 is at least the distance to the boundary times the sine of half the angle between the centres.
    ridge = np.exp(-(((near[:, 1] - near[:, 0]) / (2 * width)) ** 2))
    return distance.argmin(axis=1).reshape(GRID.shape), (1 + height * ridge).reshape(GRID.shape)


@pytest.mark.parametrize("count", CENTRES)
def test_the_phases_are_the_voronoi_cells(count):
    truth, eigenvalue = voronoi(CENTRES[count])
    phases = segment_phases(eigenvalue, GRID, **SETTINGS)
    assert phases.count == count
    # Nodes on the ridge itself, one in forty, may go either way.
    assert adjusted_rand_score(truth.ravel(), phases.label.ravel()) > 0.97


def test_a_phase_of_the_least_area_stays_and_a_smaller_one_does_not():
    field = np.ones((8, 8))  # 64 nodes: any share of them is a number without rounding
    field[1] = np.exp(5.0)
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), field.shape)
    found = segment_phases(field, grid, persistence=1.0, minimum_area=0.0, smoothing=0.0)
    area = int(np.sum(found.label == 2))
    assert found.count == 2
    for least, count in ((area, 2), (area + 0.5, 1)):
        options = {"persistence": 1.0, "minimum_area": least / 64, "smoothing": 0.0}
        assert segment_phases(field, grid, **options).count == count


def test_labels_run_from_one_in_order_of_area():
    _, eigenvalue = voronoi(CENTRES[4])
    label = segment_phases(eigenvalue, GRID, **SETTINGS).label
    areas = np.bincount(label.ravel())
    assert areas[0] == 0
    assert np.all(np.diff(areas[1:]) <= 0)
    assert label.dtype == np.int32


@pytest.mark.parametrize("factor", [1e-12, 7.0, 1e9])
def test_a_constant_factor_changes_nothing(factor):
    _, eigenvalue = voronoi(CENTRES[3])
    one, two = (segment_phases(f * eigenvalue, GRID, **SETTINGS) for f in (1.0, factor))
    assert np.array_equal(one.label, two.label)
    np.testing.assert_allclose(two.ridge, one.ridge, atol=1e-12)


def test_a_reflection_of_the_box_reflects_the_phases():
    _, eigenvalue = voronoi(CENTRES[3])
    one = segment_phases(eigenvalue, GRID, **SETTINGS).label
    two = segment_phases(eigenvalue[::-1], GRID, **SETTINGS).label[::-1]
    # The flood meets nodes of equal height from the other side: a few on the ridges change hands.
    assert np.mean(one != two) < 0.02


def test_the_ridge_is_the_height_of_the_boundary_in_nats():
    _, eigenvalue = voronoi(CENTRES[2], width=0.2)
    phases = segment_phases(eigenvalue, GRID, persistence=1.0, minimum_area=0.0, smoothing=0.0)
    on_boundary = np.zeros(GRID.shape, dtype=bool)
    for axis in (0, 1):
        unlike = np.diff(phases.label, axis=axis) != 0
        on_boundary |= np.pad(unlike, [(0, int(axis == k)) for k in (0, 1)])
        on_boundary |= np.pad(unlike, [(int(axis == k), 0) for k in (0, 1)])
    assert np.array_equal(phases.ridge > 0, on_boundary)
    # Each boundary node is within a step, 0.2 widths, of the top: exp(-0.2^2) of it. The bottoms are one.
    ridge = phases.ridge[on_boundary]
    assert np.log(51) - 0.05 < ridge.min() <= ridge.max() <= np.log(51) + 1e-12


@pytest.mark.parametrize(("height", "expected"), [(np.e**0.9 - 1, 1), (np.e**1.2 - 1, 2)])
def test_a_ridge_counts_from_the_persistence_on(height, expected):
    # An odd ridge straight along a line of nodes: its top is log(1 + height) above the bottoms, without smoothing.
    eigenvalue = np.ones(GRID.shape)
    eigenvalue[36] += height
    phases = segment_phases(eigenvalue, GRID, persistence=1.0, minimum_area=0.0, smoothing=0.0)
    assert phases.count == expected


def test_persistence_is_measured_from_the_shallower_basin():
    # A ridge 2 nats above the left bottom and half a nat above the right one.
    eigenvalue = np.ones(GRID.shape)
    eigenvalue[36:] = np.exp(1.5)
    eigenvalue[36] = np.exp(2.0)
    counts = [
        segment_phases(eigenvalue, GRID, persistence=p, minimum_area=0.0, smoothing=0.0).count
        for p in (0.45, 0.55)
    ]
    assert counts == [2, 1]


def test_noise_below_the_persistence_adds_no_phase():
    truth, eigenvalue = voronoi(CENTRES[3])
    noise = np.exp(np.random.default_rng(0).uniform(-0.25, 0.25, GRID.shape))  # rises of half a nat at most
    phases = segment_phases(eigenvalue * noise, GRID, **{**SETTINGS, "minimum_area": 0.0, "smoothing": 0.0})
    assert phases.count == 3
    # Roughness of the ridge's top moves the boundary by a node.
    assert adjusted_rand_score(truth.ravel(), phases.label.ravel()) > 0.95
    fine = segment_phases(
        eigenvalue * noise, GRID, persistence=0.05, minimum_area=0.0, smoothing=0.0, confidence=0.0
    )
    assert fine.count > 10


@pytest.mark.parametrize("transposed", [False, True])
def test_small_phases_join_the_neighbour_across_the_lowest_pass(transposed):
    # A block of 6 x 5 nodes left of the middle ridge, walled by 3 nats on three sides, by 2 nats towards the right.
    eigenvalue = np.ones(GRID.shape)
    eigenvalue[36] = np.exp(4.0)
    eigenvalue[29:37, 20:27] = np.exp(3.0)
    eigenvalue[36, 21:26] = np.exp(2.0)
    eigenvalue[30:36, 21:26] = 1.0
    grid = Grid(GRID.extent, GRID.shape[::-1]) if transposed else GRID
    turned = eigenvalue.T if transposed else eigenvalue

    def label(minimum_area):
        found = segment_phases(turned, grid, persistence=1.0, minimum_area=minimum_area, smoothing=0.0).label
        return found.T if transposed else found

    kept, merged = label(0.0), label(0.02)
    assert kept.max() == 3
    assert merged.max() == 2
    assert merged[32, 23] == merged[70, 5] != merged[5, 5]
    assert np.array_equal(kept == kept[5, 5], merged == merged[5, 5])


def test_the_ridge_rises_from_the_shallower_basin():
    # The ridge, 2 nats high, between bottoms at 0 and at 1.2 nats.
    eigenvalue = np.ones(GRID.shape)
    eigenvalue[37:] = np.exp(1.2)
    eigenvalue[36] = np.exp(2.0)
    phases = segment_phases(eigenvalue, GRID, persistence=0.5, minimum_area=0.0, smoothing=0.0)
    assert phases.count == 2
    np.testing.assert_allclose(phases.ridge[phases.ridge > 0], 0.8, rtol=1e-12)


def test_a_flat_map_is_one_phase_without_boundaries():
    for eigenvalue in (np.full(GRID.shape, 3.0), 2 + np.sin(GRID.points[:, 0]).reshape(GRID.shape)):
        phases = segment_phases(eigenvalue, GRID, **SETTINGS)
        assert phases.count == 1
        assert np.all(phases.label == 1)
        assert np.all(phases.ridge == 0)
        assert boundary_lines(phases.label, GRID) == []
        assert triple_points(phases.label, GRID) == []


def test_the_triple_point_is_the_voronoi_vertex():
    _, eigenvalue = voronoi(CENTRES[3])
    found = triple_points(segment_phases(eigenvalue, GRID, **SETTINGS).label, GRID)
    assert len(found) == 1
    assert found[0].phases == (1, 2, 3)
    steps = (found[0].point - Voronoi(CENTRES[3]).vertices[0]) / np.array(GRID.spacing)
    assert np.abs(steps).max() < 1.5


@pytest.mark.parametrize("count", CENTRES)
def test_boundaries_lie_on_the_lines_between_centres(count):
    truth, eigenvalue = voronoi(CENTRES[count])
    label = segment_phases(eigenvalue, GRID, **SETTINGS).label
    centre_of = {phase: np.bincount(truth[label == phase]).argmax() for phase in range(1, count + 1)}
    lines = boundary_lines(label, GRID)
    assert lines
    for line in lines:
        p, q = (np.array(CENTRES[count][centre_of[phase]]) for phase in line.phases)
        normal = (q - p) / np.linalg.norm(q - p)
        off = np.abs((line.points - (p + q) / 2) @ normal) / min(GRID.spacing)
        assert off.max() < 2
        assert np.median(off) < 0.6  # half-way between nodes, so half a step, and what smoothing leaves


def test_boundaries_end_on_the_box_or_at_the_triple_point():
    truth, _ = voronoi(CENTRES[3])
    lines, (triple,) = boundary_lines(truth + 1, GRID), triple_points(truth + 1, GRID)
    assert [line.phases for line in lines] == [(1, 2), (1, 3), (2, 3)]
    low, high = np.array(GRID.extent).T
    for line in lines:
        ends = line.points[[0, -1]]
        at_triple = np.all(np.abs(ends - triple.point) < 1e-12, axis=1)
        on_box = np.any((np.abs(ends - low) < 1e-12) | (np.abs(ends - high) < 1e-12), axis=1)
        assert sorted(at_triple) == [False, True]
        assert np.array_equal(on_box, ~at_triple)
        # Unbroken: smoothing does not pull neighbours further apart than a cell.
        assert np.all(np.abs(np.diff(line.points, axis=0)) <= np.array(GRID.spacing) * (1 + 1e-12))


def test_a_straight_boundary_is_exactly_half_way():
    label = np.ones(GRID.shape, dtype=int)
    label[30:] = 2
    (line,) = boundary_lines(label, GRID)
    assert line.phases == (1, 2)
    np.testing.assert_allclose(line.points[:, 0], GRID.axes[0][29:31].mean(), rtol=1e-12)
    np.testing.assert_allclose(np.sort(line.points[[0, -1], 1]), GRID.extent[1], atol=1e-12)


def test_an_island_has_a_closed_line_around_it():
    label = np.ones(GRID.shape, dtype=int)
    a, b = GRID.points.T.reshape(2, *GRID.shape)
    label[(a - 0.5) ** 2 + (b - 1.0) ** 2 < 0.6**2] = 2
    (line,) = boundary_lines(label, GRID)
    np.testing.assert_array_equal(line.points[0], line.points[-1])
    radius = np.hypot(*(line.points - (0.5, 1.0)).T)
    np.testing.assert_allclose(radius, 0.6, atol=max(GRID.spacing))
    x, y = line.points.T
    area = 0.5 * np.abs(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]))
    # The shoelace area against that of the nodes inside; smoothing rounds the corners of the staircase off.
    assert area == pytest.approx(np.count_nonzero(label == 2) * np.prod(GRID.spacing), rel=0.02)


def test_a_closed_line_is_smoothed_where_it_starts_too():
    label = np.ones((8, 8), dtype=int)
    label[2:6, 2:6] = 2
    (line,) = boundary_lines(label, Grid(((0.0, 7.0), (0.0, 7.0)), (8, 8)))
    corners = np.sort(np.abs(line.points[:-1] - 3.5).sum(axis=1))[-4:]
    np.testing.assert_allclose(corners, corners[0], rtol=1e-12)  # the four corners of a square are alike
    assert 3 < corners[0] < 4  # 4 before smoothing


def test_a_line_stops_where_a_third_phase_touches_it():
    label = np.full((6, 6), 2)
    label[:3, :3], label[3:, 3:] = 1, 3
    grid = Grid(((0.0, 5.0), (0.0, 5.0)), (6, 6))
    lines = boundary_lines(label, grid)
    assert [line.phases for line in lines] == [(1, 2), (1, 2), (2, 3), (2, 3)]
    assert all(np.count_nonzero(np.all(line.points == 2.5, axis=1)) == 1 for line in lines)
    (point,) = triple_points(label, grid)
    np.testing.assert_array_equal(point.point, (2.5, 2.5))


def test_regions_that_touch_at_a_corner_keep_two_lines_there():
    label = np.ones((6, 6), dtype=int)
    label[:3, :3] = label[3:, 3:] = 2
    grid = Grid(((0.0, 5.0), (0.0, 5.0)), (6, 6))
    lines = boundary_lines(label, grid)
    assert len(lines) == 4
    assert all(any(np.allclose(end, 2.5) for end in line.points[[0, -1]]) for line in lines)
    assert triple_points(label, grid) == []


def test_touching_corners_make_one_point_of_four_phases():
    label = np.array([[1, 1, 1, 2], [1, 1, 1, 2], [3, 3, 4, 4], [3, 3, 4, 4]])
    grid = Grid(((0.0, 3.0), (0.0, 3.0)), (4, 4))
    (point,) = triple_points(label, grid)
    assert point.phases == (1, 2, 3, 4)
    np.testing.assert_allclose(point.point, (1.5, 2.0))  # the mean of the corners (1.5, 1.5) and (1.5, 2.5)


def test_a_medoid_is_the_sample_of_the_least_sum_of_squares():
    rng = np.random.default_rng(4)
    label = rng.integers(1, 4, 120)
    embedding = (rng.normal(size=(120, 6)) + label[:, None]).astype(np.float32)
    found = medoids(embedding, label)
    assert list(found) == [1, 2, 3]
    squared = ((embedding[:, None].astype(float) - embedding) ** 2).sum(axis=-1)
    for phase, index in found.items():
        members = np.flatnonzero(label == phase)
        assert index == members[squared[np.ix_(members, members)].sum(axis=1).argmin()]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("persistence", 0.0),
        ("persistence", np.nan),
        ("minimum_area", 1.0),
        ("minimum_area", -0.1),
        ("smoothing", -1.0),
    ],
)
def test_bad_settings_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        segment_phases(np.ones(GRID.shape), GRID, **{**SETTINGS, name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_an_eigenvalue_that_is_not_positive_is_refused(value):
    eigenvalue = np.ones(GRID.shape)
    eigenvalue[3, 4] = value
    with pytest.raises(ValueError, match="at 1 nodes"):
        segment_phases(eigenvalue, GRID, **SETTINGS)


def test_shapes_that_differ_are_refused():
    with pytest.raises(ValueError, match="largest_eigenvalue"):
        segment_phases(np.ones((4, 4)), GRID, **SETTINGS)
    for function in (boundary_lines, triple_points):
        with pytest.raises(ValueError, match="label"):
            function(np.ones((4, 4), dtype=int), GRID)
    with pytest.raises(ValueError, match="label_of_sample"):
        medoids(np.zeros((5, 2)), np.ones(4, dtype=int))


def test_noise_alone_is_one_phase():
    """Log-noise of .6, which without a test of significance makes several phases of any field."""
    rng = np.random.default_rng(7)
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (48, 48))
    settings = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}
    fields = np.exp(0.6 * rng.standard_normal((100, *grid.shape)))
    alone = [segment_phases(field, grid, **settings) for field in fields]
    assert sum(phases.count == 1 for phases in alone) >= 95
    assert np.mean([phases.noise for phases in alone]) == pytest.approx(0.6, rel=0.05)
    assert alone[0].persistence == alone[0].noise_persistence > 0.5
    assert np.mean([segment_phases(f, grid, **settings, confidence=0.0).count for f in fields[:20]]) > 2


def test_phases_that_stand_out_of_noise_stay():
    truth, eigenvalue = voronoi(CENTRES[3])
    noise = np.exp(0.6 * np.random.default_rng(1).standard_normal(GRID.shape))
    settings = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}
    phases = segment_phases(eigenvalue * noise, GRID, **settings)
    assert phases.count == 3
    assert adjusted_rand_score(truth.ravel(), phases.label.ravel()) > 0.9
    strengths = boundary_strengths(phases)
    assert set(strengths) == {(1, 2), (1, 3), (2, 3)}
    assert all(median > lowest > phases.persistence for lowest, median in strengths.values())


def test_a_smooth_field_has_no_noise_and_keeps_its_persistence():
    _, eigenvalue = voronoi(CENTRES[3])
    phases = segment_phases(eigenvalue, GRID, **SETTINGS)
    assert phases.persistence == SETTINGS["persistence"]
    assert phases.noise_persistence < 0.5 * SETTINGS["persistence"]


def test_the_second_persistence_is_that_of_the_shallower_basin():
    # Basins at 0 and 1, a pass of 3 between them: 2; a third at 2.5 ends after a half.
    height = np.array([[0.0, 3.0, 1.0, 3.0, 2.5]])
    assert second_persistence(np.repeat(height, 3, axis=0)) == 2.0
    assert second_persistence(np.add.outer(np.arange(4.0), np.arange(5.0))) == 0.0


def curie_weiss_ridge(couplings, spins):
    """Height in nats of the largest eigenvalue a spin at h = 0 over that of an ordered phase, exact."""

    def largest(coupling, field):
        m = np.arange(-spins, spins + 1, 2.0)
        binomial = gammaln(spins + 1) - gammaln((spins + m) / 2 + 1) - gammaln((spins - m) / 2 + 1)
        statistics = np.stack([m**2 / (2 * spins), m])
        p = softmax(binomial + coupling * statistics[0] + field * m)
        return np.linalg.eigvalsh(np.cov(statistics, aweights=p, ddof=0) / spins)[-1]

    return [np.log(largest(coupling, 0.0) / largest(2.0, 0.3)) for coupling in couplings]


def test_a_ridge_of_the_susceptibility_is_a_crossover_and_the_coexistence_line_a_transition():
    """Curie-Weiss: at h = 0 the transition ends at K = 1, the ridge runs on."""
    sizes, couplings = [64, 128, 256, 512, 1024], [0.4, 0.6, 0.8, 0.9, 1.0, 1.05, 1.2, 1.5, 2.0]
    strengths = np.array([curie_weiss_ridge(couplings, n) for n in sizes])
    assert strengths.min() > 2.5  # strong at every size, which says nothing
    found = size_verdict(sizes, strengths)
    assert list(found[:4]) == ["crossover"] * 4
    assert list(found[4:]) == ["transition"] * 5
    # With fewer and smaller sizes what is near the end of the line is left open, never called wrongly.
    few = size_verdict(sizes[:3], strengths[:3])
    assert set(few[:2]) == {"crossover"}
    assert "crossover" not in few[4:]
    assert "transition" not in few[:4]
    two = size_verdict(sizes[-2:], strengths[-2:])
    assert (two[0], two[4], two[-1]) == ("crossover", "undecided", "transition")


def test_errors_leave_a_verdict_open():
    sizes, strengths = [16, 32, 64], np.array([[1.0, 1.0], [1.5, 1.01], [2.0, 1.02]])
    assert list(size_verdict(sizes, strengths)) == ["transition", "crossover"]
    assert list(size_verdict(sizes, strengths, errors=np.full((3, 2), 0.3))) == ["undecided", "undecided"]
    with pytest.raises(ValueError, match="increasing"):
        size_verdict([2, 1], strengths[:2])


@pytest.mark.parametrize("shape", [(24, 24), (16, 60), (300,)])
def test_one_field_of_noise_in_a_hundred_shows_a_second_phase(shape):
    """On seeds that no level was made with; by the level of the noise as it is found in each field."""
    level, more = noise_persistence(shape, 1.0, 0.99), 0
    for seed in range(60):
        rough = np.random.default_rng(7000 + seed).standard_normal(shape)
        more += second_persistence(gaussian_filter(rough, 1.0, mode="nearest")) > level * noise_level(rough)
    assert more <= 3  # of 60, at a rate of 1/100: more than three in one of 3,000 trials


def test_a_long_boundary_in_noise_parts_two_phases_and_no_more():
    grid = Grid(((0.0, 1.0), (0.0, 1.0)), (24, 60))
    ridge = 5 * np.exp(-((grid.points[:, 0] - 0.5) ** 2) / (2 * 0.05**2)).reshape(grid.shape)
    for seed in range(6):
        noise = 0.6 * np.random.default_rng(200 + seed).standard_normal(grid.shape)
        assert segment_phases(np.exp(ridge + noise), grid, **SETTINGS | {"smoothing": 1.0}).count == 2
