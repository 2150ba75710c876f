"""The front door: studies from functions, embeddings and folders are those of the workflow, and say what they found."""

import re
import runpy
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from spots import X, Y, embed, generate

import hessgeo as hg
from hessgeo import store
from hessgeo.free_energies.base import free_energy_dataset
from hessgeo.pipeline.chain import fit_free_energy
from hessgeo.pipeline.config_files import SettingsError
from hessgeo.pipeline.estimation import distance_posterior
from hessgeo.pipeline.metric_chain import derive_metric
from hessgeo.pipeline.phase_chain import describe_phases
from hessgeo.pipeline.settings import study_defaults
from hessgeo.study import drawing
from hessgeo.systems.slices import LatentSlice, load_anchors

CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
SMALL = {"grid": (12, 12), "normalisation": "none", "geodesics": {"points": 16}}


@pytest.fixture(scope="module")
def study():
    return hg.map(generate, embed, anchors=CORNERS, name="spots", **SMALL)


@pytest.fixture(scope="module")
def saved(study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "spots"
    study.save(folder)
    return folder


# The package.


def test_the_package_is_imported_at_once_and_without_torch():
    code = (
        "import sys, time; start = time.perf_counter(); import hessgeo; "
        "print(time.perf_counter() - start, 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = done.stdout.split()
    assert float(seconds) < 0.3
    assert loaded == ["False", "False"]


def test_every_public_name_is_there():
    assert set(hg.__all__) | {"__version__", "study"} <= set(dir(hg))
    assert "import_module" not in dir(hg)
    assert all(getattr(hg, name).__name__ == name for name in hg.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'mapp'"):
        _ = hg.mapp


def test_random_anchors_are_those_of_the_workflow():
    assert (hg.random_anchors(3, (100, 1, 1)) == load_anchors(3, (100, 1, 1))).all()
    for seed, shape in ((-1, (2,)), (1.5, (2,)), (True, (2,)), (3, (0,)), (3, None)):
        with pytest.raises(ValueError, match=r"^(seed|latent_shape) .* is not allowed; allowed: "):
            hg.random_anchors(seed, shape)


# Maps.


def test_a_map_has_the_numbers_that_the_workflow_has(study):
    settings, grid = study.settings, hg.Grid(((-1.0, 2.0), (-1.0, 2.0)), (12, 12))
    defaults = study_defaults()
    assert {key: settings[key] for key in ("posterior", "phases")} == {
        key: defaults[key] for key in ("posterior", "phases")
    }
    latents = LatentSlice(CORNERS, grid.extent, "none").latents(grid.points)
    images = generate(latents.astype(np.float32))
    features = embed(images)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    assert (study.images == np.round(255 * images)[..., None]).all()
    assert np.allclose(study.embedding, features, atol=1e-7)
    given = (grid.points, grid, settings["posterior"])
    posterior, _ = distance_posterior(features, *given, seed=settings["seed"], progress=False)
    fit = fit_free_energy(
        posterior, features, grid, settings["free_energy"], seed=settings["seed"], progress=False
    )
    about = {"fit": "spline", "kernel": "gaussian", "verdict": fit.verdict}
    free_energy = free_energy_dataset(fit, grid, attributes=about)
    metric, _ = derive_metric(free_energy, posterior, features, grid)
    given = (metric, free_energy, features, grid.points, grid, settings["phases"])
    phases, found, _ = describe_phases(*given, on_grid=True)
    xr.testing.assert_allclose(study.free_energy.to_xarray(), free_energy, rtol=1e-5, atol=1e-7)
    assert (study.phases.label == phases["label"]).all()
    assert study.phases.count == len(found["phases"]) == 4
    assert study.verdict == fit.verdict == "resolved"


def test_numpy_and_torch_give_one_map(study):
    grid = torch.from_numpy(np.stack([X, Y]))

    def signed(z):
        place = torch.tanh(1.2 * (z.double() - 0.5))[..., None, None]
        return (2 * torch.exp(-((grid - place) ** 2).sum(dim=1, keepdim=True) / 2) - 1).float()

    def of_signed(images):
        return torch.cat([(images.flatten(1) + 1) / 2, torch.ones(len(images), 1)], dim=1)

    other = hg.map(signed, of_signed, anchors=torch.from_numpy(CORNERS), **SMALL)
    assert np.abs(other.images.astype(int) - study.images).max() <= 1
    assert np.allclose(other.embedding, study.embedding, atol=1e-6)
    assert (other.phases.label == study.phases.label).all()


def test_without_an_embedding_the_pixels_are_the_features():
    sizes = []

    def counted(z):
        sizes.append(len(z))
        return generate(z)

    found = hg.map(counted, anchors=CORNERS, **SMALL)
    assert sizes[-3:] == [48, 48, 48]  # in even batches of at most 64
    pixels = found.images.reshape(144, -1) / 127.5 - 1
    assert np.allclose(found.embedding, pixels / np.linalg.norm(pixels, axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"posterior": {"cells": 1}}, "posterior.cells: 1 is not allowed; allowed: a number >= 2"),
        ({"free_energy": {"spline": [8, 8]}}, "free_energy.spline: unknown key; nearest: splines"),
        ({"grid": (4, 12)}, "sampling.grid[0]: 4 is not allowed; allowed: a whole number >= 8"),
        ({"extent": ((1, 0), (0, 1))}, "slice.extent: [[1, 0], [0, 1]] is not allowed"),
        ({"normalisation": "cube"}, "slice.normalisation: 'cube' is not allowed; allowed: sphere"),
        (
            {"free_energy": {"fit": "spline", "splines": (13, 8)}},
            "free_energy.splines: [13, 8] is not allowed",
        ),
        ({"posterior": {"kind": "network"}}, 'posterior.kind: "network" is not allowed'),
    ],
)
def test_settings_are_checked_in_the_words_of_the_workflow(given, line):
    with pytest.raises(SettingsError) as refused:
        hg.map(generate, anchors=CORNERS, **{**SMALL, **given})
    assert line.replace('"', "'") in str(refused.value).replace('"', "'")


def test_anchors_that_span_no_plane_are_refused():
    for anchors in (CORNERS[:2], None, 5, [np.zeros(2), np.zeros(3), np.zeros(2)], CORNERS > 0):
        with pytest.raises(ValueError, match=r"^anchors.* are not allowed; allowed: three latents"):
            hg.map(generate, anchors=anchors, **SMALL)
    with pytest.raises(ValueError, match="anchors"):
        hg.map(generate, anchors=CORNERS[[0, 0, 1]], **SMALL)


# Fits of what was embedded elsewhere.


def test_a_fit_to_points_on_a_grid_is_the_map(study):
    found = hg.fit(3 * study.embedding, study.points, images=study.images)
    assert found.grid == study.grid
    assert (found.phases.label == study.phases.label).all()
    assert np.allclose(found.free_energy.hessian(CORNERS), study.free_energy.hessian(CORNERS), rtol=1e-4)


def test_scattered_points_have_fields_too_and_figures_without_images():
    t = np.random.default_rng(0).uniform(-1, 2, (400, 2))
    found = hg.fit(
        torch.from_numpy(embed(generate(t))), t, extent=((-1, 2), (-1, 2)), geodesics={"points": 16}
    )
    assert found.grid == hg.Grid(((-1, 2), (-1, 2)), (20, 20))
    assert found.phases.count >= 4
    assert found.images is None
    assert [len(part.plot().axes) > 0 for part in (found, found.phases, found.metric)] == [True] * 3
    with pytest.raises(ValueError, match="the metric embedding needs a sample on every node"):
        found.geodesic((0, 0), (1, 1), "embedding")


@pytest.mark.parametrize(
    ("embedding", "points", "words"),
    [
        (np.ones((9, 3)), np.zeros((8, 2)), "points, float64 of shape (8, 2), are not allowed"),
        (np.zeros((9, 3)), np.zeros((9, 2)), "the features of sample 0 must be finite and not zero"),
        (np.ones(9), np.zeros((9, 2)), "must be real numbers (n, d)"),
        (np.ones((0, 3)), np.zeros((0, 2)), "must be real numbers (n, d), n at least 1"),
        (np.ones((9, 3)), np.full((9, 2), "1"), "points, <U1 of shape (9, 2), are not allowed"),
        (np.ones((9, 3)), np.full((9, 2), 1j), "points, complex128 of shape (9, 2), are not allowed"),
        (
            np.ones((9, 3)),
            np.zeros((9, 2), "M8[s]"),
            "points, datetime64[s] of shape (9, 2), are not allowed",
        ),
        (np.ones((9, 3)), np.zeros((9, 2)), "points: a is 0 for every sample, must vary"),
        (np.ones((9, 3)), 1e9 + np.eye(9)[:, :2], "points: a reaches 1e+09, must stay within 1e+06 of 0"),
        (
            np.ones((9, 3)),
            np.c_[np.arange(9) // 2, np.arange(9) % 8 // 2],
            "samples 0 and 1 are both at (0, 0)",
        ),
        (np.ma.masked_equal(np.eye(9), 1), np.zeros((9, 2)), "an array of shape (9, 9) has 9 masked values"),
        (np.ones((81, 3)), hg.Grid(((0, 1), (0, 1)), (9, 9)).points, "the posteriors of all sources are one"),
        (np.ones((81, 3)), hg.Grid(((0, 1e-31), (0, 1)), (9, 9)).points, "sides of at least 1e-30"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_in_a_line(embedding, points, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        hg.fit(embedding, points, posterior={"resolution": 20})


def test_a_fit_is_the_same_in_any_order_unit_and_kind_of_array(study):
    order = np.random.default_rng(0).permutation(len(study.points))
    same = {"posterior": {"resolution": study.parts.resolution}}
    features, metric = study.embedding.astype(float), study.metric.to_xarray()["fisher_metric"]
    for embedding, points in [
        (1e-200 * features[order], study.points[order].astype(np.float32)),
        (1e200 * features, study.points.tolist()),
        (torch.from_numpy(features).to_sparse(), np.ma.masked_array(study.points)),
    ]:
        found = hg.fit(embedding, points, **same)
        np.testing.assert_array_equal(found.points, study.points)
        np.testing.assert_allclose(found.metric.to_xarray()["fisher_metric"], metric, rtol=1e-4, atol=1e-4)


# Folders.


def test_a_saved_study_comes_back(study, saved):
    found = hg.open(saved)
    assert found.name == "spots"
    assert found.grid == study.grid
    for name in ("points", "embedding"):
        assert (getattr(found, name) == getattr(study, name)).all()
    assert (np.asarray(found.images) == study.images).all()
    assert (found.posterior.mean == study.posterior.mean).all()
    for part in ("free_energy", "metric", "phases"):
        xr.testing.assert_identical(
            getattr(found, part).to_xarray().drop_attrs(), getattr(study, part).to_xarray().drop_attrs()
        )
    assert found.phases.persistence == study.phases.persistence
    pair = ((-0.5, 1.5), (1.5, 0.2))
    found, again = (one.geodesic(*pair).length for one in (hg.open(saved, geodesics={"points": 16}), study))
    assert torch.allclose(found, again, rtol=1e-12)


def test_figures_are_those_of_the_workflow_and_saved_where_they_are_asked_for(study, tmp_path, monkeypatch):
    assert drawing.names(study.parts) == [
        *("mosaic", "free_energy", "first_derivatives", "second_derivatives", "metric", "phases"),
        *("posteriors", "lipschitz", "distances", "voronoi", "error_bars"),
    ]
    monkeypatch.setattr(drawing, "names", lambda parts: ["posteriors", "mosaic"])
    study.save(tmp_path / "spots", figures=True)
    files = [tmp_path / "spots" / "figures" / f"{name}.png" for name in ("mosaic", "posteriors")]
    assert sorted((tmp_path / "spots" / "figures").glob("*.png")) == files
    store.check_results(files, tmp_path)


def test_all_that_is_saved_is_vouched_for(saved):
    store.check_results([path for path in saved.rglob("*") if is_result(path)], saved.parent)
    samples = next((saved / "samples").glob("*.zarr"))
    assert set(store.verify(samples, "image").values()) == {store.ShardState.OK}


def is_result(path):
    inside = {".vouchers", "manifest", "posterior.zarr"} & set(path.parts)
    return path.is_file() and not inside and "/c/" not in str(path)


def test_opening_reads_nothing_and_damage_is_one_line(study, tmp_path):
    study.save(tmp_path / "spots")
    (tmp_path / "spots" / "metric.nc").write_bytes(b"no metric")
    found = hg.open(tmp_path / "spots")
    assert (
        found.free_energy.to_xarray()["free_energy"] == study.free_energy.to_xarray()["free_energy"]
    ).all()
    with pytest.raises(store.StoreError, match=r"metric\.nc has 9 bytes, not \d+") as refused:
        _ = found.metric.to_xarray()
    assert "\n" not in str(refused.value)


def test_what_is_no_study_is_refused_and_nothing_is_overwritten(study, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"nowhere holds no finished study: free_energy\.nc is missing"
    ):
        hg.open(tmp_path / "nowhere")
    Path(tmp_path, "mine").write_text("mine")
    with pytest.raises(FileExistsError, match="holds something already"):
        study.save(tmp_path)
    with pytest.raises(FileExistsError, match="mine is no folder"):
        study.save(tmp_path / "mine")


def test_results_that_do_not_note_their_samples_are_read_where_there_is_one_store(saved, tmp_path):
    found = hg.open(saved)
    dataset = found.free_energy.to_xarray()
    store.withdraw([saved / "free_energy.nc"])
    kept = (saved / "free_energy.nc").read_bytes()
    store.write_dataset(
        saved / "free_energy.nc",
        dataset.drop_attrs().assign_attrs(
            {key: value for key, value in dataset.attrs.items() if key not in ("samples", "embedding")}
        ),
    )
    assert (hg.open(saved).embedding == found.embedding).all()
    (saved / "free_energy.nc").write_bytes(kept)
    store.vouch([saved / "free_energy.nc"])


def test_the_samples_may_be_those_of_another_study(saved, study, tmp_path):
    shutil.copytree(saved, tmp_path / "first")
    shutil.copytree(
        saved, tmp_path / "other", ignore=shutil.ignore_patterns("samples", "manifest", ".vouchers")
    )
    dataset = study.free_energy.to_xarray()
    noted = {"samples": f"../first/samples/{next((saved / 'samples').glob('*.zarr')).name}"}
    noted["embedding"] = hg.open(saved).free_energy.to_xarray().attrs["embedding"]
    store.write_dataset(tmp_path / "other" / "free_energy.nc", dataset.assign_attrs(noted))
    found = hg.open(tmp_path / "other")
    assert (found.embedding == study.embedding).all()
    assert (np.asarray(found.images) == study.images).all()


# Paths.


def test_a_geodesic_is_no_longer_than_the_straight_line_and_has_its_certificate(study):
    path = study.geodesic((-0.5, 1.5), (1.5, 0.2))
    assert bool(path.certified.all())
    assert float(path.length) < float(path.straight_length)
    assert path.reasons() == [None]
    assert "certified 1 of 1" in repr(path)
    found = path.to_xarray()
    assert found["points"].dims == ("pair", "point", "i")
    assert np.allclose(found["points"].to_numpy()[0, [0, -1]], [(-0.5, 1.5), (1.5, 0.2)])


def test_a_metric_may_be_a_name_an_object_or_a_function(study):
    pair = ((-0.5, 1.5), (1.5, 0.2))
    flat = study.geodesic(*pair, lambda t: torch.eye(2, dtype=t.dtype).expand(*t.shape, 2))
    assert float(flat.length) == pytest.approx(np.hypot(2, 1.3), rel=1e-9)
    assert float(study.geodesic(*pair, study.metric).length) == pytest.approx(
        float(study.geodesic(*pair).length), rel=1e-12
    )
    with pytest.raises(ValueError, match="metric 'fischer' is not allowed; allowed: fisher, embedding"):
        study.geodesic(*pair, "fischer")


@pytest.mark.parametrize("name", ["pixels", "embedding"])
def test_a_metric_by_name_is_that_of_these_features(study, name):
    exact = {"points": 16, "smoothing": 0, "floor": 1e-6}
    found = hg.fit(study.embedding, study.points, images=study.images, geodesics=exact)
    features = study.embedding if name == "embedding" else study.images.reshape(144, -1) / 255
    steps = np.linalg.norm(np.diff(features.reshape(12, 12, -1)[:, 5], axis=0), axis=1)
    b = study.grid.axes[1][5]
    # The metric is that of differences over two cells, which miss some of what bends within them.
    length = float(found.geodesic((-1, b), (2, b), name).straight_length)
    assert length == pytest.approx(steps.sum(), rel=0.05)


def test_the_density_metric_is_shortest_where_samples_are_alike(study):
    dense, sparse = (
        float(study.geodesic(*pair, "density").straight_length)
        for pair in (((-1, -1), (-0.5, -1)), ((0.25, 0.5), (0.75, 0.5)))
    )
    assert dense < 0.5 < sparse  # their length in the plane, which a place of median density keeps


def test_a_path_without_certificate_says_why(study):
    path = study.geodesics([((-0.5, 1.5), (1.5, 0.2)), ((0, 0), (1, 1))])
    doubtful = replace(path, residual=torch.tensor([0.5, 0.0]).double())
    assert "residual of the geodesic equation is 0.5 rad" in doubtful.reasons()[0]
    assert doubtful.reasons()[1] is None
    assert "certified 1 of 2" in repr(doubtful)
    assert "not certified" in repr(doubtful)


def test_a_pair_outside_the_box_fails_beside_others(study):
    paths = study.geodesics([((-0.5, 1.5), (1.5, 0.2)), ((0, 0), (100, 1))])
    assert paths.failed.tolist() == [False, True]
    assert paths.reasons()[1].startswith("its end lies outside the box")
    assert paths.straight_length.isnan().tolist() == [False, True]
    assert "its end lies outside the box" in repr(paths)


def test_pairs_of_another_shape_are_refused(study):
    with pytest.raises(ValueError, match=r"allowed: \(m, 2, 2\)"):
        study.geodesics([(0, 0), (1, 1)])


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (None, "metric None is not allowed; allowed: fisher, embedding, pixels, density, or a function"),
        (lambda t: None, "the metric function gave NoneType, must be a tensor of real numbers"),
        (lambda t: torch.eye(2).expand(*t.shape, 2) + 1j, "the metric function gave torch.complex64"),
        (lambda t: torch.tensor([[1, 0.5], [0, 1]]).expand(*t.shape, 2), "is not symmetric: g_ab is 0.5"),
    ],
)
def test_a_metric_that_is_none_is_refused_in_a_line(study, metric, words):
    for solve in (lambda: study.geodesic((0, 0), (1, 1), metric), lambda: study.distances((0, 0), metric)):
        with pytest.raises(ValueError, match=re.escape(words)):
            solve()


# What objects say.


def test_a_study_and_its_parts_say_what_they_hold(study):
    said = [
        (study, ("study spots", "12 x 12 nodes", "samples 144", "8 x 8 x 1", "phases 4", "verdict resolved")),
        (study.free_energy, ("12 x 12 nodes over [-1, 2] x [-1, 2]", "KL of the fit", "splines 14 x 14")),
        (study.metric, ("positive definite in 100 %", "largest eigenvalue")),
        (study.phases, ("number 4", "boundaries", "triple points")),
        (study.geodesic((-0.5, 1.5), (1.5, 0.2)), ("metric fisher", "length", "straight line")),
    ]
    for shown, words in said:
        text = repr(shown)
        assert len(text.splitlines()) <= 3
        assert all(word in text.replace("\n ", "") for word in words), text
        page = shown._repr_html_()
        assert page.startswith("<div><img src='data:image/png;base64,iVBORw0KGgo")
        assert page.count("<tr>") == len(shown.facts)


def test_a_fit_that_is_not_resolved_cannot_be_overlooked(study):
    parts = study.parts
    kept = parts.free_energy.attrs["verdict"]
    parts.free_energy.attrs["verdict"] = "posteriors are <too> narrow"
    try:
        assert "NOT RESOLVED: posteriors are <too> narrow" in repr(study)
        assert "NOT RESOLVED: posteriors are &lt;too&gt; narrow" in study._repr_html_()
        assert any("NOT RESOLVED" in text.get_text() for text in study.plot().texts)
    finally:
        parts.free_energy.attrs["verdict"] = kept


def test_a_free_energy_is_a_function_of_points(study):
    fields, grid = study.free_energy.to_xarray(), study.grid
    on_nodes = study.free_energy.value(grid.points)
    assert np.allclose(on_nodes, fields["free_energy"].to_numpy().ravel(), atol=1e-12)
    assert np.allclose(
        study.free_energy.hessian(torch.from_numpy(grid.points)).numpy().reshape(12, 12, 2, 2),
        fields["fisher_metric"].to_numpy(),
        atol=1e-10,
    )
    assert isinstance(study.free_energy.gradient([[0, 0]]), np.ndarray)
    assert isinstance(study.free_energy.third(torch.zeros(1, 2)), torch.Tensor)
    assert study.free_energy.value([0, 0]) == study.free_energy.value([[0.0, 0.0]])[0]
    g = study.metric(torch.zeros(2, dtype=torch.float64))
    for zero in ([0, 0], np.zeros(2, np.float32), torch.zeros(2, dtype=torch.int64)):
        assert np.array_equal(study.metric(zero), g)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([0, np.nan], "point (0, nan) lies outside the box"),
        (np.array([[0, 0], [0, 2.1]]), "point (0, 2.1) lies outside the box"),
        ([0, 0, 0], "points, int64 of shape (3,), are not allowed"),
        ([["0", "0"]], "points, <U1 of shape (1, 2), are not allowed"),
        (0.5, "points, float64 of shape (), are not allowed"),
        (None, "points, object of shape (), are not allowed"),
    ],
)
def test_points_that_are_none_are_refused_in_a_line(study, points, words):
    for function in (study.free_energy.value, study.free_energy.third, study.metric, study.phases.at):
        with pytest.raises(ValueError, match=re.escape(words)):
            function(points)


def test_a_figure_that_is_none_is_refused_with_those_that_are(study):
    with pytest.raises(ValueError, match="figure 'fases' is not allowed; allowed: mosaic, free_energy"):
        study.plot("fases")


def test_phases_know_the_label_of_points(study):
    labels = study.phases.at([(-0.5, -0.5), (1.5, 1.5), (-0.5, 1.5), (1.5, -0.5)])
    assert sorted(labels) == [1, 2, 3, 4]


def test_samples_are_a_dataset(study):
    assert dict(study.samples.sizes) == {
        "sample": 144,
        "i": 2,
        "feature": 65,
        "row": 8,
        "column": 8,
        "channel": 1,
    }


def test_ipython_is_told_how_to_show_figures(study, monkeypatch):
    class Formatter(dict):
        for_type = dict.__setitem__

    formatter = Formatter()
    shell = type("Shell", (), {})()
    shell.display_formatter = type("Display", (), {"formatters": {"image/png": formatter}})()
    # Matplotlib asks for the version, if it has not been imported before.
    module = {"get_ipython": staticmethod(lambda: shell), "version_info": (9, 0, 0)}
    monkeypatch.setitem(sys.modules, "IPython", type("IPython", (), module))
    figure = study.phases.plot()
    assert formatter[type(figure)](figure).startswith(b"\x89PNG")


# What is shown to users runs.


def test_the_example_runs(repository, tmp_path):
    example = runpy.run_path(str(repository / "examples" / "blobs.py"))
    study, path = example["main"](tmp_path / "blobs", grid=(12, 12))
    assert study.phases.count == 4
    assert bool(path.certified.all())
    assert (tmp_path / "blobs" / "geodesic.png").is_file()
