"""Paths of a study by every method, on a small system whose images are known functions of the point."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from potentials import POTENTIALS
from scipy.spatial.distance import pdist

from hessgeo.evaluation.path_images import (
    images_by_path,
    path_features,
    perceptual_path_lengths,
    score_paths,
    shown_paths,
    span_coordinates,
    strips_of,
)
from hessgeo.evaluation.path_table import (
    SCORES,
    shown_pairs,
    table_2,
    turning_at_boundaries,
    turning_contrasts,
)
from hessgeo.evaluation.path_table import path_tables as tables_of
from hessgeo.figures import path_tables
from hessgeo.figures.saving import verdict_of
from hessgeo.figures.tables import number_with_interval, save_table
from hessgeo.geodesics.curves import length
from hessgeo.geodesics.lines import spherical_lines, straight_lines
from hessgeo.grids import Grid
from hessgeo.pipeline.embedding_names import embedding_name
from hessgeo.pipeline.layout import PATH_TABLES
from hessgeo.pipeline.paths import certificates, feature_maps, solve_paths, study_metrics
from hessgeo.pipeline.schema import defaults
from hessgeo.systems.memory import peak_memory
from hessgeo.systems.slices import LatentSlice

ROOT = Path(__file__).parents[2]
GRID = Grid(((-1.0, 1.0), (-1.0, 1.0)), (25, 25))
SETTINGS = {
    "methods": ["linear", "spherical", "fisher", "published", "pixels", "density"],
    "pairs": 8,
    "margin": 0.1,
    "points": 30,
    "waypoints": 6,
    "refinement": 2,
    "doublings": 3,
    "spacing": "fisher",
    "path_length_epsilon": 0.05,
    "path_length_places": 4,
    "path_length_clip": [0.01, 0.99],
    "floor": 1e-3,
    "smoothing": 1.0,
    "density_quantile": 0.5,
    "published_steps": 30,
    "published_learning_rate": 0.01,
    "confidence": 0.95,
    "shown": 3,
}
PLANE = LatentSlice(np.random.default_rng(0).normal(size=(3, 20)), GRID.extent)


class Waves:
    """Images of 4 x 4 pixels whose grey values are smooth functions of the point."""

    def sample(self, t, index, seed):
        phase = t @ np.random.default_rng(5).normal(size=(2, 16))
        grey = np.rint(127.5 * (1 + np.sin(phase)))
        return grey.astype(np.uint8).reshape(len(t), 4, 4, 1)


def drawn_at_once(waypoints, system):
    flat = waypoints.reshape(-1, 2)
    images = system.sample(flat, np.arange(len(flat)), 0)
    return images.reshape(*waypoints.shape[:-1], *images.shape[1:])


@pytest.fixture(scope="module")
def study():
    fisher = POTENTIALS["three_phases_soft"].hessian(torch.from_numpy(GRID.points)).numpy()
    images = Waves().sample(GRID.points, None, 0)
    features = {name: of(images).reshape(*GRID.shape, -1) for name, of in feature_maps(None).items()}
    log_density = -((GRID.points - 0.2) ** 2).sum(axis=1).reshape(GRID.shape)
    metrics = study_metrics(fisher.reshape(*GRID.shape, 2, 2), features, log_density, GRID, SETTINGS)
    paths = solve_paths(metrics, PLANE, GRID, SETTINGS, seed=4)
    return metrics, paths


def test_every_method_joins_the_same_pairs_within_the_box(study):
    _, paths = study
    assert list(paths["method"].to_numpy()) == SETTINGS["methods"]
    for name in ("points", "waypoints"):
        values = paths[name].to_numpy()
        np.testing.assert_allclose(
            values[:, :, 0], np.broadcast_to(values[:1, :, 0], values[:, :, 0].shape), atol=1e-12
        )
        np.testing.assert_allclose(
            values[:, :, -1], np.broadcast_to(values[:1, :, -1], values[:, :, -1].shape), atol=1e-12
        )
        assert np.abs(values).max() <= 1
    assert paths["points"].shape == (6, 8, 30, 2)
    assert paths["waypoints"].shape == (6, 8, 6, 2)


def test_no_method_is_shorter_than_the_geodesic_in_its_own_metric(study):
    metrics, paths = study
    for name, entry in metrics.items():
        lengths = [float(x) for x in paths["own_length"].sel({"method": name})]
        for other in paths["method"].to_numpy():
            curve = torch.from_numpy(paths["points"].sel({"method": other}).to_numpy())
            rival = length(curve, entry.metric).numpy()
            # A polyline of 30 points may cut the corners of a spline by its second-order error.
            assert (rival >= np.array(lengths) * (1 - 1e-3)).all(), (name, other)
    numbers = certificates(paths, metrics)
    assert numbers["pairs"] == 8
    assert numbers["fisher"]["converged"] == 8
    fisher = paths.sel({"method": "fisher"})
    within = (fisher["residual"] <= numbers["fisher"]["residual_tolerance"]) & (fisher["minimal"] == 1)
    # Some of them by no more than this: of the others the grid knows the distance too badly to certify by it.
    certified = fisher["certified"] == 1
    assert 0 < numbers["fisher"]["certified"] == int(certified.sum()) <= int(within.sum())
    assert bool((within | ~certified).all())
    # Segments were halved of the paths that need it alone, three times at most.
    assert bool(((fisher["segments"] >= 58) & (fisher["segments"] <= 464)).all())
    assert bool((within | (fisher["segments"] > 58)).all())
    assert numbers["fisher_over_linear"]["largest"] <= 1 + 1e-3
    assert numbers["fisher_over_published"]["longer"] == 0
    assert 0 <= numbers["fisher"]["repaired_share"] < 1


def test_spherical_lines_lie_on_the_straight_ones_evenly_in_angle():
    starts, ends = GRID.points[[3, 100]], GRID.points[[600, 404]]
    points = spherical_lines(starts, ends, PLANE, 7)
    off, chord = points - starts[:, None], (ends - starts)[:, None]
    assert np.abs(off[..., 0] * chord[..., 1] - off[..., 1] * chord[..., 0]).max() < 1e-12
    latents = PLANE.latents(points.reshape(-1, 2)).reshape(2, 7, -1)
    unit = latents / np.linalg.norm(latents, axis=2, keepdims=True)
    angles = np.arccos(np.sum(unit[:, 1:] * unit[:, :-1], axis=2))
    np.testing.assert_allclose(angles, np.broadcast_to(angles[:, :1], angles.shape), rtol=1e-6)
    assert np.abs(points - straight_lines(starts, ends, 7)).max() > 1e-3
    opposite = LatentSlice(np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]), GRID.extent, "none")
    with pytest.raises(ValueError, match="opposite"):
        spherical_lines(np.array([[0.0, 0.0]]), np.array([[0.0, 1.0]]), opposite, 3)


def test_scores_of_a_study_and_its_strips(study):
    _, paths = study
    images = drawn_at_once(paths["waypoints"].to_numpy(), Waves())
    assert images.shape == (6, 8, 6, 4, 4, 1)
    flat = images.reshape(-1, 4, 4, 1)
    features = {name: of(flat).reshape(6, 8, 6, -1) for name, of in feature_maps(None).items()}
    label = np.where(GRID.points[:, 0].reshape(GRID.shape) < 0, 1, 2)
    scores = score_paths(paths, features, label, GRID)
    assert len(scores) == 48
    line = scores[scores["method"] == "linear"]
    assert line["curvature"].max() < 1e-9
    steps = np.linalg.norm(np.diff(features["pixels"][0].astype(float), axis=1), axis=2)
    expected = np.sqrt((steps**2).mean(axis=1) - steps.mean(axis=1) ** 2)
    np.testing.assert_allclose(line["pixels_istd"], expected, rtol=1e-9)
    expected = np.sign(paths["points"].sel({"method": "linear"}).to_numpy()[:, [0, -1], 0].T)
    expected = expected[0] == expected[1]
    assert line["within_phase"].tolist() == expected.tolist()
    solved = scores[scores["method"] == "fisher"]
    np.testing.assert_allclose(solved["fisher"], solved["own_length"], rtol=1e-3)
    shown = shown_paths(paths, label, GRID, 3)
    short, kept = path_features(paths["waypoints"].to_numpy(), Waves(), feature_maps(None), shown, seed=0)
    assert shown_pairs(scores, 3) == [pair for _, pair in shown[:3]]
    strips = strips_of(paths.assign_attrs(verdict="too narrow"), kept, short["pixels"])
    assert verdict_of(strips) == "too narrow"
    assert strips["images"].shape == (3, 2, 6, 4, 4, 1)
    pairs = shown_pairs(scores, 3)
    assert not line.set_index("pair").loc[pairs[0], "within_phase"]
    np.testing.assert_array_equal(strips["images"].to_numpy()[1, 0], images[2, pairs[1]])
    assert strips["steps"].to_numpy()[1, 1].sum() == pytest.approx(
        line.set_index("pair").loc[pairs[1], "pixels"]
    )


class Coordinates:
    """Images of two pixels, the point itself in steps of 1/255: their features are known."""

    def sample(self, t, index, seed):
        return np.rint(127.5 * (1 + t)).astype(np.uint8).reshape(len(t), 1, 2, 1)


def test_the_perceptual_path_length_of_a_line_is_its_squared_length(study, monkeypatch):
    metrics, _ = study
    settings = {
        **SETTINGS,
        "methods": ["linear", "spherical", "fisher"],
        "spacing": "own",
        "path_length_epsilon": 0.25,
        "path_length_places": 12,
        "path_length_clip": None,
    }
    paths = solve_paths(metrics, PLANE, GRID, settings, seed=4)
    features = lambda images: images.reshape(len(images), 2) / 127.5 - 1  # noqa: E731
    found = perceptual_path_lengths(paths, Coordinates(), features, epsilon=0.25, clip=None, seed=0)
    assert found.shape == (3, 8)
    chords = np.diff(paths["points"].to_numpy()[0][:, [0, -1]], axis=1)[:, 0]
    # Rounding moves each coordinate by at most 1/255, a step of a quarter of a path by 0.016 of its coordinates.
    error = 4 * np.abs(chords).sum(axis=1) * 2 * 0.0157 + (4 * 0.0111) ** 2
    assert (np.abs(found[0] - (chords**2).sum(axis=1)) < error).all()
    places = paths["probes"].to_numpy()
    assert places.shape == (3, 8, 12, 2, 2)
    np.testing.assert_allclose(
        places[0, :, :, 1] - places[0, :, :, 0], np.broadcast_to(chords[:, None] / 4, (8, 12, 2)), atol=1e-12
    )
    monkeypatch.setattr("hessgeo.evaluation.path_images.SAMPLED_AT_ONCE", 7)
    again = perceptual_path_lengths(paths, Coordinates(), features, epsilon=0.25, clip=None, seed=0)
    np.testing.assert_array_equal(again, found)
    fewer = solve_paths(metrics, PLANE, GRID, {**settings, "pairs": 3}, seed=4)
    np.testing.assert_allclose(fewer["probes"], paths["probes"][:, :3], atol=1e-6)


def scores_of(gain, pairs=50):
    rng = np.random.default_rng(0)
    base = 10 + rng.normal(size=pairs)
    within = np.arange(pairs) % 2 == 0
    common = {"pair": np.arange(pairs), "within_phase": within, "curvature_inside": 1.0}
    common |= {"curvature": np.where(within, 0.5, 2.0) + 0.1 * rng.normal(size=pairs), "bend": 0.1}
    line = pd.DataFrame({"method": "linear", "embedding": base, "curvature_at_boundary": 1.0, **common})
    ours = base - np.where(within, 0.0, gain) + 0.1 * rng.normal(size=pairs)
    return pd.concat(
        [
            line,
            pd.DataFrame(
                {"method": "fisher", "embedding": ours, "curvature_at_boundary": 3 + base, **common}
            ),
        ]
    )


def test_table_holds_the_paired_differences_of_each_split():
    table = table_2(scores_of(1.0).sample(frac=1, random_state=1), ["embedding"]).set_index(
        ["pairs", "method"]
    )
    across = table.loc[("across a boundary", "fisher")]
    # 25 differences of deviation 0.1: the mean is within 0.06 of -1, three standard errors.
    assert across["embedding_difference"] == pytest.approx(-1, abs=0.06)
    assert across["embedding_high"] < 0
    within = table.loc[("within a phase", "fisher")]
    assert within["embedding_low"] < within["embedding_difference"] < within["embedding_high"]
    assert abs(within["embedding_difference"]) < 0.06
    assert table.loc[("all", "linear"), "embedding_difference"] == 0
    assert table.loc[("all", "fisher"), "count"] == 50
    with pytest.raises(ValueError, match="baseline 'spline'"):
        table_2(scores_of(1.0), ["embedding"], baseline="spline")


def test_pairs_without_a_score_are_left_out_and_counted():
    scores = scores_of(1.0).reset_index(drop=True)
    mine = (scores["method"] == "fisher") & (scores["pair"] < 4)
    table = table_2(scores.assign(embedding=scores["embedding"].mask(mine)), ["embedding"]).set_index(
        ["pairs", "method"]
    )
    row = table.loc[("all", "fisher")]
    assert (row["count"], row["embedding_count"]) == (50, 46)
    kept = scores[(scores["method"] == "fisher") & ~mine]["embedding"]
    assert row["embedding"] == pytest.approx(kept.mean())
    assert row["embedding_sd"] == pytest.approx(kept.std())


NAMES = {"digits": "CLIP digits"}


@pytest.fixture
def written(tmp_path):
    """The tables of a study, and their files."""
    scores = scores_of(1.0).rename(columns={"embedding": "perceptual_path_length"})
    found = tables_of({"digits": scores}, {"digits": SETTINGS})
    assert tuple(found) == tuple(PATH_TABLES) == tuple(path_tables.TITLES)
    assert tuple(path_tables.SCORES) == SCORES
    for name, table in found.items():
        files = [tmp_path / f"{name}.{kind}" for kind in ("csv", "tex", "html")]
        about = {
            "caption": path_tables.caption(name, {"digits": SETTINGS}, NAMES),
            "title": path_tables.TITLES[name],
        }
        save_table(
            path_tables.typeset(name, table, NAMES),
            path_tables.columns(name, table, NAMES),
            *files,
            **about,
            group="group",
        )
    return found, tmp_path


def test_the_table_is_typeset_with_its_settings(written):
    _, folder = written
    csv = pd.read_csv(folder / "table2.csv")
    assert "perceptual_path_length" in csv
    assert len(csv) == 6
    for kind in ("tex", "html"):
        page = (folder / f"table2.{kind}").read_text()
        assert "epsilon 0.05, 4 places a path" in page
        assert "below the 0.01 and above the 0.99 quantile" in page
        assert "digits, across a boundary: 25 pairs" in page
        assert "Fisher (ours)" in page
    other = {**SETTINGS, "path_length_clip": None, "spacing": "own"}
    both = path_tables.caption(
        "table2", {"digits": SETTINGS, "faces": other}, {**NAMES, "faces": "resnet18 (timm)"}
    )
    assert "faces: epsilon 0.05, 4 places a path, nothing left out" in both
    assert "on every path but the spherical (digits); equidistant in the metric of each method" in both


def test_paths_are_compared_with_the_geodesic_pair_by_pair(written):
    found, folder = written
    from_line, from_ours = (found[name].set_index(["pairs", "method"]) for name in list(PATH_TABLES)[:2])
    assert "fisher" not in from_ours.index.get_level_values("method")
    ours, line = from_line.loc[("all", "fisher")], from_ours.loc[("all", "linear")]
    for mine, other in (("difference", "difference"), ("low", "high"), ("high", "low")):
        assert line[f"perceptual_path_length_{mine}"] == -ours[f"perceptual_path_length_{other}"]
    assert line["perceptual_path_length_count"] == 50
    across = from_ours.loc[("across a boundary", "linear")]
    cell = number_with_interval(
        *(across[f"perceptual_path_length_{end}"] for end in ("difference", "low", "high"))
    )
    for kind in ("tex", "html"):
        page = (folder / f"table2_against_fisher.{kind}").read_text()
        assert cell in page
        assert "Above zero the geodesic has the lower score" in page.replace("\n", " ")


@pytest.mark.parametrize(
    ("embedding", "name"),
    [
        ({"kind": "open_clip", "checkpoint": "digits", "model": None}, "CLIP digits"),
        ({"kind": "open_clip", "checkpoint": "/m/w.safetensors", "model": "ViT-B-16"}, "ViT-B-16 (open_clip)"),
        ({"kind": "open_clip", "checkpoint": "/m/my-model", "model": None}, "my-model (open_clip)"),
        ({"kind": "timm", "checkpoint": "/m/digits", "model": None}, "digits (timm)"),
        ({"kind": "timm", "checkpoint": "/m/r.safetensors", "model": "resnet18"}, "resnet18 (timm)"),
        ({"kind": "timm", "checkpoint": "digits", "model": None}, "digits (timm)"),
        ({"kind": "pixels", "checkpoint": "digits", "model": None}, "pixel embedding"),
    ],
)  # fmt: skip
def test_tables_name_the_embedding_that_was_used_and_no_other(embedding, name, tmp_path):
    assert embedding_name(embedding, ["digits"]) == name
    scores = pd.concat(
        [scores_of(1.0), scores_of(1.0).query("method == 'fisher'").assign(method="embedding")]
    )
    for names in ({"one": name}, {"one": name, "two": "resnet50 (timm)"}):
        settings = dict.fromkeys(names, SETTINGS)
        for kind, table in tables_of(dict.fromkeys(names, scores), settings).items():
            files = [tmp_path / f"{kind}.{ending}" for ending in ("csv", "tex", "html")]
            about = {"caption": path_tables.caption(kind, settings, names), "title": path_tables.TITLES[kind]}
            columns = path_tables.columns(kind, table, names)
            save_table(path_tables.typeset(kind, table, names), columns, *files, **about, group="group")
            for file in files:
                text = file.read_text().replace("\\_", "_")
                assert f"{name} metric" in text
                assert ("clip" in text.lower()) == ("clip" in name.lower())
            if kind == "table2":
                heads = [column.title for column in columns]
                assert (name in heads) == (len(names) == 1)
                assert (
                    name in about["caption"]
                    or name.capitalize() in about["caption"]
                    or "Pixel" in about["caption"]
                )


def test_every_method_and_score_has_a_name():
    assert set(path_tables.METHODS) == set(defaults("geodesics")["methods"])


def test_turning_at_boundaries_is_a_paired_difference():
    found = turning_at_boundaries(scores_of(1.0), "fisher")
    assert found.mean == pytest.approx(12, abs=0.5)
    assert found.low < found.mean < found.high


@pytest.mark.parametrize("spacing", ["fisher", "own"])
def test_spherical_lines_keep_their_own_spacing_and_so_their_own_scores(study, spacing):
    metrics, _ = study
    settings = {**SETTINGS, "spacing": spacing, "methods": ["linear", "spherical", "fisher"]}
    paths = solve_paths(metrics, PLANE, GRID, settings, seed=4)
    ends = paths["points"].to_numpy()[0][:, [0, -1]]
    spherical = paths["waypoints"].to_numpy()[1]
    expected = spherical_lines(ends[:, 0], ends[:, 1], PLANE, SETTINGS["waypoints"])
    np.testing.assert_allclose(spherical, expected, atol=1e-12)
    off, chord = spherical - ends[:, :1], (ends[:, 1] - ends[:, 0])[:, None]
    assert np.abs(off[..., 0] * chord[..., 1] - off[..., 1] * chord[..., 0]).max() < 1e-12
    images = drawn_at_once(paths["waypoints"].to_numpy(), Waves())
    features = images.reshape(*images.shape[:3], -1) / 255.0
    scores = score_paths(paths, {"pixels": features}, np.ones(GRID.shape, dtype=int), GRID)
    pixels = scores.pivot(index="pair", columns="method", values="pixels")
    assert (pixels["spherical"] != pixels["linear"]).any()
    assert np.abs(paths["probes"].to_numpy()[1] - paths["probes"].to_numpy()[0]).max() > 1e-3


def test_contrasts_of_turning_are_paired_over_parts_and_not_over_pairs():
    scores = scores_of(1.0).reset_index(drop=True)
    ours = scores["method"] == "fisher"
    scores.loc[ours & (scores["pair"] < 5), "curvature_at_boundary"] = np.nan
    rows = turning_contrasts(scores).set_index(["contrast", "method"])
    parts = rows.loc[("turning of parts", "fisher")]
    assert (parts["boundary_count"], parts["inside_count"], parts["difference_count"]) == (45, 50, 45)
    assert (parts["inside"], parts["inside_low"], parts["inside_high"]) == (1.0, 1.0, 1.0)
    assert parts["difference_low"] < parts["difference"] < parts["difference_high"]
    assert parts["difference"] == pytest.approx(parts["boundary"] - 1)
    curvature = rows.loc[("curvature of pairs", "fisher")]
    # Two means of 25 with a deviation of 0.1: their difference scatters by 0.028.
    assert curvature["difference"] == pytest.approx(1.5, abs=0.1)
    assert 0.03 < curvature["difference_high"] - curvature["difference"] < 0.09
    assert (curvature["boundary_count"], curvature["difference_count"]) == (25, 50)
    flat = rows.loc[("bend of pairs", "linear")]
    assert (flat["difference_low"], flat["difference"], flat["difference_high"]) == (0.0, 0.0, 0.0)


def test_the_table_of_turning_says_of_how_many_paths(written):
    found, folder = written
    assert set(found["table2_turning"]["method"]) == {"fisher"}
    for kind in ("tex", "html"):
        page = (folder / f"table2_turning.{kind}").read_text()
        assert "1.00 (50)" in page
        assert "digits, curvature of pairs" in page


def test_way_points_share_their_spacing_or_keep_their_own(study):
    metrics, paths = study
    fisher = metrics["fisher"].metric
    own = solve_paths(
        metrics, PLANE, GRID, {**SETTINGS, "spacing": "own", "methods": ["linear", "fisher"]}, seed=4
    )
    np.testing.assert_array_equal(
        own["points"].to_numpy(), paths["points"].sel({"method": ["linear", "fisher"]}).to_numpy()
    )
    steps = np.diff(own["waypoints"].sel({"method": "linear"}).to_numpy(), axis=1)
    np.testing.assert_allclose(steps, np.broadcast_to(steps[:, :1], steps.shape), atol=1e-12)
    shared = torch.from_numpy(paths["waypoints"].sel({"method": "linear"}).to_numpy())
    pieces = torch.stack([length(shared[:, k : k + 2], fisher, nodes=32) for k in range(5)], dim=1)
    # 32 nodes over a fifth of the line, on which the interpolated metric has kinks in its third derivative.
    torch.testing.assert_close(pieces, pieces[:, :1].expand_as(pieces), rtol=1e-3, atol=0)


class Noisy(Waves):
    """Images that depend on their index too."""

    def sample(self, t, index, seed):
        return super().sample(t, index, seed) ^ (index % 251).astype(np.uint8)[:, None, None, None]


@pytest.mark.parametrize("at_once", [4, 5, 7, 1024])
def test_images_come_path_by_path_as_they_do_at_once(at_once, monkeypatch):
    waypoints = np.random.default_rng(0).uniform(-1, 1, (2, 3, 5, 2))
    whole = drawn_at_once(waypoints, Noisy()).reshape(6, 5, 4, 4, 1)
    monkeypatch.setattr("hessgeo.evaluation.path_images.SAMPLED_AT_ONCE", at_once)
    np.testing.assert_array_equal(list(images_by_path(waypoints, Noisy(), seed=0)), whole)


@pytest.mark.parametrize("dimension", [2, 5, 300])
def test_coordinates_in_the_span_keep_distances(dimension):
    # Far from the origin and close to one another: nothing may cancel.
    points = 1e3 + 1e-4 * np.random.default_rng(0).normal(size=(6, dimension))
    found = span_coordinates(points)
    assert found.shape == (6, 6)
    np.testing.assert_allclose(pdist(found), pdist(points), rtol=1e-8)


def test_features_path_by_path_have_the_lengths_of_all_at_once(study):
    _, paths = study
    waypoints, label = paths["waypoints"].to_numpy(), np.ones(GRID.shape, int)
    images = drawn_at_once(waypoints, Noisy())
    whole = {"pixels": feature_maps(None)["pixels"](images.reshape(-1, 4, 4, 1)).reshape(6, 8, 6, -1)}
    found, kept = path_features(waypoints, Noisy(), feature_maps(None), [(2, 5), (0, 1)], seed=0)
    assert list(kept) == [(2, 5), (0, 1)]
    np.testing.assert_array_equal(kept[2, 5], images[2, 5])
    expected, scores = (score_paths(paths, features, label, GRID) for features in (whole, found))
    np.testing.assert_allclose(scores["pixels"], expected["pixels"], rtol=1e-12)


def test_scoring_holds_the_images_of_a_few_paths(monkeypatch):
    monkeypatch.setattr("hessgeo.evaluation.path_images.SAMPLED_AT_ONCE", 16)

    class Flat:
        def sample(self, t, index, seed):
            return np.full((len(t), 128, 128, 3), 7, dtype=np.uint8)

    maps = feature_maps(None)
    with peak_memory("cpu") as peak:
        path_features(np.zeros((2, 40, 5, 2)), Flat(), maps, [(0, 0)], seed=0)
    # 400 images are 20 MB of bytes and 79 MB of pixels in single precision; 32 of them, and a path's pixels in double
    # precision a few times over, are 14 MB, and 16 MiB are for what else the process does.
    assert peak.bytes < 32 << 20
