"""Which phases are found again, how far maps agree, and what noise alone makes of both."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from hessgeo.grids import Grid
from hessgeo.metrics.measured import embedding_metric
from hessgeo.phases import recurrence as found
from hessgeo.phases.agreement import RELATED, STABLE, UNRELATED, adjusted_rand, agreement, chance_agreement
from hessgeo.phases.recurrence import NOT_TOLD, REAL, edge_places, near_boundary, overlaps, recurrence
from hessgeo.phases.replicates import embedding_noise, from_neighbours, half_of_nodes, replicate
from hessgeo.phases.segment import segment_phases

GRID = Grid(((0.0, 1.0), (0.0, 1.0)), (24, 24))
SETTINGS = {"persistence": 0.5, "minimum_area": 0.02, "smoothing": 1.0}


def halves(column=12, shape=(24, 24)):
    """Two phases, parted before a row of nodes."""
    return np.where(np.arange(shape[0])[:, None] < column, 1, 2) * np.ones(shape[1], dtype=int)


def segmented(embedding, grid=GRID, **options):
    metric = embedding_metric(embedding, grid)
    return segment_phases(np.linalg.eigvalsh(metric)[..., -1], grid, **SETTINGS | options)


def step(rng=None, *, noise=0.0, width=0.04):
    """Embeddings of two phases that meet in a smooth step at the middle, with noise."""
    a = GRID.points[:, 0].reshape(GRID.shape)
    b = GRID.points[:, 1].reshape(GRID.shape)
    smooth = np.stack([np.tanh((a - 0.5) / width), 0.3 * a, 0.3 * b, 0 * a], axis=-1)
    return smooth if rng is None else smooth + noise * rng.standard_normal(smooth.shape)


def test_overlaps_are_shares_of_the_union():
    label = halves()
    assert overlaps(label, label).tolist() == [1, 1]
    # Row 12 goes to the first phase: 12 of 13 rows, and 11 of 12.
    assert overlaps(label, halves(13)) == pytest.approx([12 / 13, 11 / 12])
    # Names do not matter, and one phase over the whole box shares a half with each.
    assert overlaps(label, 3 - label).tolist() == [1, 1]
    assert overlaps(label, np.ones_like(label)).tolist() == [0.5, 0.5]


def test_places_of_edges_lie_half_way_and_count_as_found_within_a_step():
    places, pairs = edge_places(halves())
    np.testing.assert_array_equal(places, np.stack([np.full(24, 23), 2 * np.arange(24)], axis=1))
    assert (pairs == (1, 2)).all()
    for column, there in ((11, True), (13, True), (14, False)):
        assert (near_boundary(halves(column), places) == there).all()
    assert not near_boundary(np.ones((24, 24), dtype=int), places).any()
    # Of a line, too.
    line = np.array([1, 1, 2, 2, 2])
    np.testing.assert_array_equal(edge_places(line)[0], [[3]])
    assert near_boundary(np.array([1, 1, 1, 2, 2]), edge_places(line)[0]).all()


def test_what_replicates_share_is_real_and_what_they_do_not_is_not():
    """A map of three phases, of which the replicates have two and a third that wanders."""
    label = halves()
    label[3:9, 3:9] = 3
    rng = np.random.default_rng(5)
    replicates = []
    for _ in range(40):
        other = halves(12 + int(rng.integers(-1, 2)))
        i, j = rng.integers(0, 18, 2)
        other[i : i + 6, j : j + 6] = 3
        replicates.append(other)
    seen = recurrence(label, replicates)
    assert [seen.phases[k].verdict for k in (1, 2, 3)] == [REAL, REAL, NOT_TOLD]
    assert seen.boundaries[1, 2].verdict == REAL
    assert seen.boundaries[1, 2].share == 1
    # Clopper-Pearson of 40 in 40: (1 - .95) / 2 to the power of 1/40.
    assert seen.boundaries[1, 2].low == pytest.approx(0.025 ** (1 / 40))
    assert seen.boundaries[1, 3].verdict == NOT_TOLD
    assert seen.boundaries[1, 3].share < 0.5
    assert len(seen.edges) == len(edge_places(label)[0])
    with pytest.raises(ValueError, match="0 replicates must be one or more"):
        recurrence(label, [])


def test_a_map_crowded_with_boundaries_proves_nothing():
    """Replicates that have a boundary everywhere find every boundary, and chance does as well."""
    crowded = 1 + np.add.outer(np.arange(24) // 2, np.arange(24) // 2) % 2
    seen = recurrence(halves(), [crowded] * 30)
    assert seen.boundaries[1, 2].share == 1
    assert seen.boundaries[1, 2].chance == 1
    assert seen.boundaries[1, 2].verdict == NOT_TOLD


def test_intervals_of_a_share_cover_it():
    """Of 400 draws of 60 replicates at a known rate, at least 95 % less two standard errors cover it."""
    rng = np.random.default_rng(6)
    for rate in (0.5, 0.9, 0.98):
        ends = [found.frequency(rng.random(60) < rate, 0.0, 0.95) for _ in range(400)]
        assert np.mean([end.low <= rate <= end.high for end in ends]) >= 0.95 - 2 * np.sqrt(0.95 * 0.05 / 400)


def test_the_adjusted_rand_index_is_that_of_scikit_learn():
    rng = np.random.default_rng(7)
    for shape, most in (((24, 24), 2), ((10, 31), 7), ((50,), 4)):
        one, other = rng.integers(0, most, shape), rng.integers(1, most + 2, shape)
        reference = adjusted_rand_score(one.ravel(), other.ravel())
        assert adjusted_rand(one, other) == pytest.approx(reference, abs=1e-12)
        assert adjusted_rand(one, one) == 1
    assert adjusted_rand(np.ones((4, 4), dtype=int), np.zeros((4, 4), dtype=int)) == 1


def patches(seed, shape=(24, 24)):
    """Six patches round random centres."""
    centres = np.random.default_rng(seed).uniform(0, 24, (6, 2))
    nodes = np.stack(np.indices(shape), axis=-1)[:, :, None]
    return ((nodes - centres) ** 2).sum(axis=-1).argmin(axis=-1) + 1


def test_agreement_is_held_against_moved_maps_and_against_replicates():
    label = patches(1)
    near, far = np.roll(label, 1, axis=0), np.roll(label, 3, axis=0)
    own = [label, near] * 10
    same = agreement(("a", "b"), label, near, (own, own))
    assert same.verdict == STABLE
    assert same.p < 0.05
    alike = agreement(("a", "b"), label, far, ([label] * 20, [far] * 20))
    assert (alike.verdict, alike.low, alike.own) == (RELATED, alike.value, 1.0)
    stripes = 1 + (np.indices(label.shape).sum(axis=0) // 4) % 3
    assert agreement(("a", "b"), label, stripes, ([], [])).verdict == UNRELATED


def test_unrelated_smooth_maps_exceed_chance_at_the_rate_that_is_said():
    """Pairs of phases of independent smooth fields: about one in twenty passes the test at 95 %."""
    from scipy.ndimage import gaussian_filter

    passed = 0
    for seed in range(80):
        rng = np.random.default_rng([8, seed])
        one, other = (
            np.digitize(gaussian_filter(rng.standard_normal((24, 24)), 4, mode="wrap"), [-0.03, 0.03])
            for _ in range(2)
        )
        null = chance_agreement(one, other, draws=100)
        passed += adjusted_rand(one, other) > np.quantile(null, 0.95)
    assert passed <= 10  # of 80 at 1/20, with twice the standard deviation above: 4 + 2 * 1.95, and two more


def test_half_of_the_nodes_are_used_and_the_others_follow_from_them():
    rng = np.random.default_rng(9)
    kept = half_of_nodes((24, 20), rng)
    assert kept.mean() == pytest.approx(0.5, abs=0.03)
    assert (half_of_nodes((24, 20), rng) != kept).any()
    # A plane is its neighbours' mean where all four are kept.
    plane = np.add.outer(np.arange(24.0), 2 * np.arange(20.0))[..., None]
    spoiled = np.where(kept[..., None], plane, np.nan)
    filled = from_neighbours(spoiled, kept)
    np.testing.assert_allclose(filled[1:7, 1:7], plane[1:7, 1:7])
    assert np.isfinite(filled).all()
    with pytest.raises(ValueError, match="no neighbour that is kept"):
        from_neighbours(plane, np.zeros((24, 20), dtype=bool))


def test_the_noise_floor_is_that_of_each_feature():
    noisy = step() + np.array([0.1, 0.2, 0, 1]) * np.random.default_rng(10).standard_normal((24, 24, 4))
    # Its median is of some 480 overlapping differences: 6 % a standard error.
    assert embedding_noise(noisy) == pytest.approx([0.1, 0.2, 0, 1], rel=0.15, abs=1e-3)


def test_replicates_place_a_boundary_as_uncertainly_as_new_samples_do():
    """The share of a jagged boundary's nodes that change: of replicates of one field, and of new fields."""
    fields = [step(np.random.default_rng([11, k]), noise=0.12) for k in range(12)]
    maps = [segmented(field).label for field in fields]
    assert {int(label.max()) for label in maps} == {2}
    fresh = np.mean([1 - adjusted_rand(maps[k], maps[k + 1]) for k in range(11)])
    rng = np.random.default_rng(12)
    again = []
    for field, label in zip(fields[:4], maps, strict=False):
        noise = embedding_noise(field)
        again += [1 - adjusted_rand(label, segmented(replicate(field, noise, rng)).label) for _ in range(6)]
    # Half of the nodes and the noise once more: not less than what is there, and not several times as much.
    assert 0.7 * fresh < np.mean(again) < 4 * fresh


@pytest.mark.parametrize("features", [2, 8])
def test_embeddings_that_are_noise_have_one_phase_in_ninety_five_of_a_hundred_fields(features):
    more = 0
    for seed in range(100):
        noise = np.random.default_rng([13, seed]).standard_normal((24, 24, features))
        more += segmented(noise).count > 1
    assert more <= 5


def test_a_true_boundary_stays_in_replicates_and_those_of_noise_do_not():
    """Segmented without regard to noise a field has false phases beside the two that are there."""
    rng = np.random.default_rng(14)
    field = step(rng, noise=0.12)
    label = segmented(field, persistence=0.2, minimum_area=0.0, confidence=0.0).label
    assert label.max() > 4
    noise = embedding_noise(field)
    maps = [segmented(replicate(field, noise, rng)).label for _ in range(40)]
    seen = recurrence(label, maps)
    places, _ = edge_places(label)
    middle = np.abs(places[:, 0] - 23) <= 2
    assert seen.edges[middle].mean() > 0.9
    assert seen.edges[~middle].mean() < 0.2
    assert REAL not in {phase.verdict for phase in seen.phases.values()}  # what is true is cut up among them
    true = segmented(field).label
    assert [one.verdict for one in recurrence(true, maps).phases.values()] == [REAL, REAL]
