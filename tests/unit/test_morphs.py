"""Morphs: minimax ways and stops against brute force, frames at equal steps, the figure, the film, the command."""

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from matplotlib.colors import to_rgb
from PIL import Image
from printed import assert_printable, assert_whole, said
from typer.testing import CliRunner

from hessgeo.command import app
from hessgeo.evaluation.morphs import (
    CUT,
    Floors,
    Frames,
    looked_along,
    metric_steps,
    shared_out,
    steps_within,
    stops,
)
from hessgeo.figures import morph as figure_module
from hessgeo.figures import morph_film, style
from hessgeo.grids import Grid
from hessgeo.metrics.base import as_metric
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.numerics.bottleneck import grid_edges, minimax_path
from hessgeo.numerics.pacing import fewest, paced
from hessgeo.pipeline.morph import (
    by_the_mean,
    checked_points,
    make_morph,
    medoids_of_two,
    morph_numbers,
    nearest_look,
)
from hessgeo.store.films import write_gif
from hessgeo.study.morph import asked_settings, check_name, point_of

GRID = Grid(((0.0, 1.0), (0.0, 1.0)), (25, 25))
SOLVER = {"points": 25, "refinement": 1, "doublings": 2}
WIDTH = 0.025  # of the kink, less than a grid step
MORPH = {"frames": 9, "step": None, "pace": "fisher"}


def simple_ways(edges, nodes, start, end):
    """All ways without a node twice, by exhaustion."""
    beside = {node: set() for node in range(nodes)}
    for one, other in edges:
        beside[one].add(other)
        beside[other].add(one)

    def onward(way):
        if way[-1] == end:
            yield way
            return
        for node in beside[way[-1]] - set(way):
            yield from onward([*way, node])

    return onward([start])


@pytest.mark.parametrize("seed", range(6))
def test_a_minimax_way_is_that_of_all_ways(seed):
    rng = np.random.default_rng(seed)
    edges = (
        grid_edges((3, 3))
        if seed % 2
        else np.array([e for e in combinations(range(7), 2) if rng.random() < 0.6])
    )
    nodes = int(edges.max()) + 1
    costs = rng.integers(0, 6, len(edges)) / 4  # with ties, and edges of no cost
    cost = {tuple(sorted(edge)): value for edge, value in zip(edges.tolist(), costs, strict=True)}
    every = [
        [cost[tuple(sorted(step))] for step in pairwise(way)]
        for way in simple_ways(edges.tolist(), nodes, 0, nodes - 1)
    ]
    least = min(max(way) for way in every)
    found = minimax_path(edges, costs, 0, nodes - 1, nodes=nodes)
    steps = [cost[tuple(sorted(step))] for step in pairwise(found.nodes.tolist())]
    assert found.longest == least == max(steps)
    # Of the ways with that longest step it is one of the shortest.
    assert sum(steps) == pytest.approx(min(sum(way) for way in every if max(way) == least), abs=1e-9)


def test_ways_that_are_none_are_refused():
    edges = np.array([[0, 1], [2, 3]])
    with pytest.raises(ValueError, match="no way leads from node 0 to node 3"):
        minimax_path(edges, np.ones(2), 0, 3, nodes=4)
    with pytest.raises(ValueError, match="must be numbers that are not negative"):
        minimax_path(edges, np.array([1.0, np.nan]), 0, 1, nodes=4)
    assert minimax_path(edges, np.ones(2), 2, 2, nodes=4).longest == 0


@pytest.mark.parametrize("count", [2, 4, 6])
def test_stops_are_those_of_all_choices(count):
    rng = np.random.default_rng(count)
    places = np.cumsum(rng.random((9, 3)) ** 3, axis=0)
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    every = [(0, *middle, 8) for middle in combinations(range(1, 8), count - 2)]
    steps = [[distance[step] for step in pairwise(choice)] for choice in every]
    least = min(map(max, steps))
    found = paced(distance, count)
    own = [distance[step] for step in pairwise(found.tolist())]
    assert max(own) == least
    best = min(sum(step**2 for step in part) for part in steps if max(part) == least)
    assert sum(step**2 for step in own) == pytest.approx(best)
    # As many stops are the fewest for the longest of their steps, or fewer are.
    assert fewest(distance, least) <= count
    assert fewest(distance, np.diff(places, axis=0).min() / 10) is None


def test_steps_are_shared_out_by_length():
    assert shared_out(np.array([1.0, 3.0]), 8).tolist() == [2, 6]
    assert shared_out(np.array([1e-9, 1.0, 1.0]), 5).tolist() == [1, 2, 2]
    with pytest.raises(ValueError, match="one each at least"):
        shared_out(np.ones(3), 2)


def kinked(points):
    """Images and unit vectors that turn by two radians across ``a = 0.5``, in a tenth of the box."""
    angle = np.pi / 4 + np.tanh((points[:, 0] - 0.5) / WIDTH)
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    grey = np.clip(255 * points, 0, 255).astype(np.uint8)
    return np.broadcast_to(grey[:, :1, None, None], (len(points), 6, 6, 1)).copy(), features


def kink_metric():
    """The pull-back of these features, with a little of the flat metric."""
    grid = Grid(GRID.extent, (97, 9))
    slope = 1 / WIDTH / np.cosh((grid.points[:, 0] - 0.5) / WIDTH) ** 2
    g = 0.05 * np.eye(2) + slope[:, None, None] ** 2 * np.diag([1.0, 0.0])
    return GriddedMetric(g.reshape(97, 9, 2, 2), grid)


def test_stops_find_a_kink_that_even_places_step_over():
    track = np.stack([np.linspace(0, 1, 400), np.full(400, 0.3)], axis=1)
    even = Frames(track[::57], *kinked(track[::57])).steps.max()
    found = stops(looked_along(track, 7, kinked), 7)
    assert len(found.points) == 8
    # Two radians in seven equal chords; the places that are looked at are half of one apart at most.
    chord = 2 * np.sin(1 / 7)
    assert chord <= found.steps.max() < 1.25 * chord < even
    assert np.all(np.diff(found.points[:, 0]) > 0)


def test_a_bound_holds_or_is_raised_to_what_neighbours_differ_by():
    track = np.stack([np.linspace(0, 1, 400), np.full(400, 0.3)], axis=1)
    seen = looked_along(track, 7, kinked)
    steps, bound = steps_within(seen, 0.4)
    assert bound == 0.4
    assert stops(seen, steps).steps.max() <= 0.4
    assert stops(seen, steps - 1).steps.max() > 0.4
    torn = Frames(track[:4], *kinked(track[[0, 1, 398, 399]]))
    assert steps_within(torn, 0.1)[1] == pytest.approx(torn.steps.max())


def test_lengths_of_steps_are_those_of_the_metric():
    points = np.array([[0.1, 0.2], [0.4, 0.6], [0.4, 0.6], [1.0, 0.6]])
    found = metric_steps(
        as_metric(lambda t: 4 * torch.eye(2).double().expand(*t.shape[:-1], 2, 2)), GRID, points
    )
    np.testing.assert_allclose(found, [1.0, 0.0, 1.2], rtol=1e-9)


@pytest.fixture(scope="module")
def floors():
    return Floors(kinked(GRID.points)[1], GRID)


def test_a_wall_makes_a_cut_that_no_way_avoids(floors):
    across = floors.between(np.array([0.1, 0.5]), np.array([0.9, 0.5]))
    rows = GRID.points[:, 0].reshape(25, 25)[:, 0]
    columns = kinked(np.stack([rows, rows], axis=1))[1]
    assert across.longest == pytest.approx(np.linalg.norm(np.diff(columns, axis=0), axis=1).max())
    assert across.is_cut == (across.longest >= CUT * across.whole)
    assert across.is_cut
    assert not floors.between(np.array([0.1, 0.1]), np.array([0.1, 0.9])).is_cut


@pytest.fixture(scope="module")
def made(floors):
    ends = np.array([[0.1, 0.3], [0.9, 0.6]])
    metric = kink_metric()
    return {
        "frames": make_morph(ends, metric, floors, kinked, MORPH, SOLVER),
        "features": make_morph(ends, metric, floors, kinked, MORPH | {"pace": "features"}, SOLVER),
        "nearest": make_morph(
            ends, metric, floors, nearest_look(GRID.points, *kinked(GRID.points), GRID), MORPH, SOLVER
        ),
        "step": make_morph(ends, metric, floors, kinked, MORPH | {"step": 0.3}, SOLVER),
    }


def test_frames_are_at_equal_steps_of_the_metric(made):
    even = made["frames"]
    assert even.sizes == {"way": 2, "frame": 9, "y": 6, "x": 6, "channel": 1, "i": 2, "step": 8, "leg": 1}
    step = even["metric_step"].sel({"way": "geodesic"})
    # Chords of eight pieces of a curve that hardly bends.
    np.testing.assert_allclose(step, float(even["length"][0]) / 8, rtol=0.02)
    straight = even["point"].sel({"way": "straight line"})
    np.testing.assert_allclose(straight[4], [0.5, 0.45])
    # Images between the nodes show what happens there; without them it is a cut.
    assert even.attrs["warnings"] == ""
    torn = made["nearest"]
    assert "a cut cannot be avoided between (0.1, 0.3) and (0.9, 0.6)" in torn.attrs["warnings"]
    assert float(torn["feature_step"][0].max()) >= float(torn["floor"][0]) - 1e-9


def test_geodesics_take_smaller_steps_than_straight_lines(made):
    for name in ("frames", "features"):
        numbers = morph_numbers(made[name])
        assert numbers["ratio"] < 0.5
        assert numbers["frames"] == 9
    largest = [
        morph_numbers(made[name])["largest_feature_step"]["geodesic"] for name in ("features", "frames")
    ]
    assert largest[0] <= largest[1]


def test_a_bound_decides_the_number_of_frames(made):
    found = made["step"]
    assert found.sizes["step"] == int(np.ceil(float(found["length"][0]) / 0.3))
    assert float(found["metric_step"].sel({"way": "geodesic"}).max()) <= 0.3


def test_points_are_checked_in_one_line():
    with pytest.raises(
        ValueError, match=r"^--to: \(2, 0.5\) is not allowed; allowed: a in \[0, 1\] and b in \[0, 1\]$"
    ):
        checked_points([(0.1, 0.1), (2, 0.5)], GRID, loop=False, names=["--from", "--to"])
    with pytest.raises(ValueError, match=r"^morph.points\[1\]: .*another point than the one before it"):
        checked_points([(0.1, 0.1), (0.1, 0.1)], GRID, loop=False)
    with pytest.raises(ValueError, match=r"^morph.points\[0\]: .*another point than the one before it"):
        checked_points([(0.1, 0.1), (0.2, 0.1), (0.1, 0.1)], GRID, loop=True)
    assert len(checked_points([(0.1, 0.1), (0.2, 0.1)], GRID, loop=True)) == 3
    with pytest.raises(ValueError, match="the study has one phase"):
        medoids_of_two([{"label": 1, "area": 1.0, "medoid": 0}], GRID.points)


def test_a_way_by_the_mean_meets_it_between_every_two():
    metric = GriddedMetric(np.broadcast_to(np.eye(2), (9, 9, 2, 2)).copy(), Grid(GRID.extent, (9, 9)))
    found = by_the_mean(metric, np.array([[0.0, 0.0], [0.9, 0.0], [0.0, 0.9], [0.0, 0.0]]))
    assert found.shape == (7, 2)
    np.testing.assert_allclose(found[1::2], 0.3, atol=1e-6)


def test_without_a_model_frames_are_the_nearest_samples():
    images = np.arange(625, dtype=np.int64)[:, None, None, None]
    look = nearest_look(GRID.points, images, np.eye(625), GRID)
    shown, features = look(np.array([[0.0, 0.03], [1.0, 1.0], [0.0, 0.03]]))
    assert shown.ravel().tolist() == [1, 624, 1]
    assert features.argmax(axis=1).tolist() == [1, 624, 1]


def test_its_figure_is_whole_and_legible(made):
    figure, table = figure_module.draw(made["nearest"])
    assert_whole(figure)
    assert_printable(figure)
    assert figure.get_figwidth() == style.DOUBLE_COLUMN
    assert "Warning: a cut cannot be avoided" in said(figure)
    assert len(table) == 18
    np.testing.assert_allclose(
        table["feature_step"].dropna(), made["nearest"]["feature_step"].to_numpy().ravel()
    )


def halves():
    """Two phases, parted at a = .5."""
    label = np.where(GRID.points.reshape(*GRID.shape, 2)[..., 0] < 0.5, 1, 2)
    return xr.Dataset({"label": (("a", "b"), label)}, {"a": GRID.axes[0], "b": GRID.axes[1]})


def test_a_film_shows_where_it_is_on_the_map(made):
    pictures = list(morph_film.film(made["frames"], halves(), loop=False))
    high = pictures[0].shape[0] - morph_film.HEADER - morph_film.FOOTER

    def shown(picture, a, b):
        """The colour at (a, b) of the map, whose nodes lie in the middle of their cells."""
        side = GRID.shape[0]
        x, y = ((0.5 + share * (side - 1)) / side * high for share in (a, 1 - b))
        return picture[morph_film.HEADER + int(y), int(x)].astype(int)

    colours = [np.array(to_rgb(colour)) * 255 for colour in morph_film.COLOURS]
    first, last = pictures[0], pictures[morph_film.HOLD + 7]
    # At their common ends the geodesic's point covers the other one.
    assert np.abs(shown(first, 0.1, 0.3) - colours[0]).max() <= 2
    assert np.abs(shown(last, 0.9, 0.6) - colours[0]).max() <= 2
    assert np.abs(shown(first, 0.9, 0.6) - colours[0]).max() > 20
    middle = pictures[morph_film.HOLD + 3]
    halfway = made["frames"]["point"].sel({"way": "geodesic"})[4].to_numpy()
    assert np.abs(shown(middle, *halfway) - colours[0]).max() <= 2
    assert np.abs(shown(first, 0.2, 0.9) - shown(first, 0.8, 0.9)).max() > 50


def test_a_film_goes_there_and_back_or_round(made, tmp_path):
    phases = halves()
    pictures = list(morph_film.film(made["frames"], phases, loop=False))
    assert len(pictures) == 2 * morph_film.HOLD + 2 * 7
    assert all(side % 2 == 0 for side in pictures[0].shape[:2])
    np.testing.assert_array_equal(pictures[morph_film.HOLD], pictures[-1])
    assert len(list(morph_film.film(made["frames"], phases, loop=True))) == 8
    write_gif(tmp_path / "film.gif", pictures, milliseconds=morph_film.MILLISECONDS)
    with Image.open(tmp_path / "film.gif") as gif:
        assert gif.size == pictures[0].shape[1::-1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: point_of("1;2", "--via"), "--via: '1;2' is not allowed; allowed: two numbers a,b"),
        (lambda: asked_settings({"frames": 9, "step": 0.1}), "--step: 0.1 is not allowed beside --frames"),
        (lambda: asked_settings({"pace": "fast"}), "--pace: 'fast' is not allowed; allowed: fisher"),
        (lambda: check_name(Path("film.avi")), "--out: 'film.avi' is not allowed"),
    ],
)
def test_what_the_command_does_not_know_is_refused(call, words):
    with pytest.raises(ValueError, match="^" + words.replace("(", r"\(")):
        call()


def test_the_command_refuses_a_folder_without_a_study(tmp_path):
    done = CliRunner().invoke(app, ["morph", str(tmp_path), "--from", "-1,0", "--to", "1,1"])
    assert done.exit_code == 1
    assert "holds no finished study" in done.output
    assert len(done.output.strip().splitlines()) == 1
