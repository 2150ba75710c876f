"""Samples of one's own: what is refused and how, what is recognised, what names the store."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
import zarr
from PIL import Image
from safetensors.numpy import save_file

from hessgeo.features.file import FeatureFile
from hessgeo.grids import Grid, parameter_points
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.own import feature_rows, own_samples
from hessgeo.pipeline.settings import SettingsError, merged, read_settings
from hessgeo.systems.own import grid_order
from hessgeo.systems.own.images import describe_images

SIDE = 8
GRID = Grid(((-1.0, 2.0), (0.0, 0.5)), (SIDE, SIDE))
NAMES = [f"{k:02}.png" for k in range(SIDE * SIDE)]
IMAGES = np.random.default_rng(0).integers(0, 256, (SIDE * SIDE, 6, 4), dtype=np.uint8)


def write_points(points, names=None, head=None, path="points.csv"):
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(head or (["file", "a", "b"] if names else ["a", "b"]))
        for k, point in enumerate(points):
            table.writerow([*([names[k]] if names else []), *(repr(float(value)) for value in point)])


@pytest.fixture
def read(config, repository, tmp_path, monkeypatch):
    """The layout of a study of images in a folder, or the lines that refuse it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for name, image in zip(NAMES, IMAGES, strict=True):
        Image.fromarray(image).save(tmp_path / "pictures" / name)
    write_points(GRID.points, NAMES)
    base = yaml.safe_load("""
        system: {kind: samples, images: pictures, parameters: points.csv}
        embedding: {kind: pixels}
        posterior: {sources: 16}
        free_energy: {splines: [8, 8]}
    """)

    def read(**study):
        settings = merged(config, {"studies": {"digits": merged(base, study)}})
        try:
            return Layout(read_settings(settings), repository).of("digits")
        except SettingsError as error:
            return [line.removeprefix("hessgeo: studies.digits.") for line in str(error).split("\n")]

    return read


# --- what is taken ---


def test_a_grid_is_recognised_in_any_order(read):
    order = np.random.default_rng(1).permutation(len(NAMES))
    write_points(GRID.points[order], [NAMES[k] for k in order])
    study = read()
    assert study.grid == {"extent": GRID.extent, "shape": GRID.shape}
    assert study.store.startswith("grid-8x8-s64-6x4x1-")
    own = own_samples(study.own.settings)
    np.testing.assert_array_equal(own.t, parameter_points("grid", GRID, GRID.size, 0))
    np.testing.assert_array_equal(own.read(slice(3, 9))[..., 0], IMAGES[3:9])
    # Features stand in the order of the table.
    features = np.random.default_rng(2).standard_normal((GRID.size, 5))
    np.save("features.npy", features)
    found = feature_rows("features.npy", study.own.settings)(slice(3, 9))
    expected = features[np.argsort(order)][3:9]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected, axis=1, keepdims=True), atol=1e-7)


def test_scattered_points_have_the_box_that_holds_them_or_that_is_given(read):
    points = np.random.default_rng(3).uniform([0, 5], [1, 7], (len(NAMES), 2))
    write_points(points)
    study = read()
    np.testing.assert_array_equal(
        study.grid["extent"], np.stack([points.min(axis=0), points.max(axis=0)], axis=1)
    )
    assert study.grid["shape"] == (64, 64)
    assert study.store.startswith("scattered-64-s64-6x4x1-")
    wide = read(slice={"extent": [[0, 1], [5, 7]]})
    assert wide.grid["extent"] == ((0, 1), (5, 7))
    assert wide.store == study.store
    assert not study.has_paths
    made = " ".join(study.targets)
    assert "anchors" not in made
    assert "inversion" not in made


@pytest.mark.parametrize("count", [8, 61, 4096])
def test_nodes_are_told_from_their_neighbours(count):
    # Of so many nodes, written with seven digits or with all.
    grid = Grid(((0.1, 0.7), (-3e-5, 1e-5)), (count, 8))
    order = np.random.default_rng(0).permutation(grid.size)
    rounded = [np.array([[float(f"{v:.{n}g}") for v in point] for point in grid.points]) for n in (12, 7)]
    for points in (grid.points, *rounded[: 1 + (count < 100)]):
        found, there = grid_order(points[order])
        assert found.shape == grid.shape
        np.testing.assert_array_equal(order[there], np.arange(grid.size))
    moved = grid.points.copy()
    moved[5, 1] += 1e-3 * grid.spacing[1]
    assert grid_order(moved) is None
    assert grid_order(np.delete(grid.points, 5, axis=0)) is None


@pytest.mark.parametrize("kind", ["npy", "zarr"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_arrays_are_the_images_of_a_folder(read, kind, dtype):
    write_points(GRID.points)
    values = IMAGES if dtype == "uint8" else (IMAGES / np.float32(255)).astype(np.float32)
    if kind == "npy":
        np.save("images.npy", values)
    else:
        zarr.create_array("images.zarr", data=values)
    stated = {} if dtype == "uint8" else {"output_range": [0, 1]}
    study = read(system={"images": f"images.{kind}", **stated})
    np.testing.assert_array_equal(own_samples(study.own.settings).read(slice(5, 20))[..., 0], IMAGES[5:20])


def test_an_array_that_lacks_a_chunk_is_not_read_as_black_images(read, tmp_path):
    source = tmp_path / "half.zarr"
    zarr.create_array(source, data=IMAGES, chunks=(10, *IMAGES.shape[1:]))
    assert describe_images(str(source)).count == len(IMAGES)
    (source / "c" / "1" / "0" / "0").unlink()
    with pytest.raises(ValueError, match=r"half\.zarr .*1 of \d+ chunks are missing, must all be"):
        describe_images(str(source))
    # One of four shards that are not all full, and more chunks than can be counted.
    shards = {"chunks": (10, 2, 2), "shards": (40, 6, 4)}
    zarr.create_array(tmp_path / "shards.zarr", data=np.tile(IMAGES, (1, 2, 2)), **shards)
    assert describe_images(str(tmp_path / "shards.zarr")).count == len(IMAGES)
    (tmp_path / "shards.zarr" / "c" / "0" / "1" / "0").unlink()
    with pytest.raises(ValueError, match=r"shards\.zarr .*\(1 of 8 chunks are missing"):
        describe_images(str(tmp_path / "shards.zarr"))
    about = tmp_path / "half.zarr" / "zarr.json"
    about.write_text(about.read_text().replace(f"{len(IMAGES)},", f"{2**50},", 1))
    with pytest.raises(ValueError, match=r"half\.zarr .* of 112,589,990,684,263 chunks are missing"):
        describe_images(str(source))


def test_colour_and_turned_photographs_are_read_upright(tmp_path):
    colour = np.random.default_rng(0).integers(0, 256, (6, 4, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    for k in range(2):
        Image.fromarray(colour).save(tmp_path / f"{k}.png", exif=exif)
    images = describe_images(str(tmp_path))
    assert images.shape == (4, 6, 3)
    assert images.read(np.array([1])).shape == (1, 4, 6, 3)


# --- what names a store ---


def test_a_store_is_named_by_what_its_files_hold(read):
    first = read()
    shutil.copytree("pictures", "elsewhere")
    shutil.copy("points.csv", "table.csv")
    assert read(system={"images": "elsewhere", "parameters": "table.csv"}).store == first.store
    assert read(system={"images": "pictures/*.png"}).store == first.store
    assert read(seed=3).store == first.store
    assert read(sampling={"shard": 40}).store.rpartition("-")[2] == first.store.rpartition("-")[2]
    Image.fromarray(IMAGES[0] ^ 1).save("elsewhere/00.png")
    assert read(system={"images": "elsewhere"}).store != first.store
    write_points(GRID.points[::-1], NAMES)
    assert read().store != first.store


def test_an_embedding_is_named_by_what_its_file_holds(read):
    features = np.random.default_rng(0).standard_normal((GRID.size, 3))
    np.save("a.npy", features)
    np.save("b.npy", features)
    np.save("c.npy", features + 1)
    one, same, other = (
        read(embedding={"kind": "file", "file": f"{name}.npy"}).embedding_array for name in "abc"
    )
    assert one == same != other


# --- what is refused ---


def edit(change):
    """Change the table of points, by its lines."""
    with open("points.csv", encoding="utf-8") as file:
        lines = file.read().splitlines()
    change(lines)
    with open("points.csv", "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def put(k, line):
    return lambda lines: lines.__setitem__(k - 1, line)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put(7, "05.png,x,0.5"), "(points.csv, line 7: a is 'x', must be a finite number)"),
        (put(7, "05.png,0,inf"), "(points.csv, line 7: b is 'inf', must be a finite number)"),
        (put(7, "05.png,0"), "(points.csv, line 7: b is '', must be a finite number)"),
        (
            put(7, "nowhere.png,0,0"),
            "(points.csv, line 7: 'nowhere.png' is not in pictures, must be one of its images)",
        ),
        (put(7, "04.png,0.5,0.01"), "(points.csv, lines 6 and 7: both name 04.png, must differ)"),
        (put(7, "05.png,-1.0,0.0"), "(points.csv, lines 2 and 7: both are at (-1, 0), must differ)"),
        (put(7, "05.png,1_0,0"), "(points.csv, line 7: a is '1_0', must be a finite number)"),
        (put(7, "05.png,0,5,0,5"), "(points.csv, line 7 has 5 fields, must have 3, as there are columns)"),
        (put(1, "file,a,b,file"), "(points.csv has the columns file and file, must have one of them)"),
        (put(1, "file,a,c"), "(points.csv has the columns file, a, c, must have one a, one b, and file"),
        (put(1, "file,a,b,image"), "(points.csv has the columns file and image, must have one of them)"),
        (lambda lines: lines.pop(), "(points.csv has 63 points, must have 64 at least)"),
        (
            lambda lines: lines.append("64.png,0.1,0.1"),
            "(points.csv has 65 points, must have one for each of the 64",
        ),
    ],
)
def test_a_table_that_does_not_fit_is_refused_in_one_line(read, change, words):
    edit(change)
    (line,) = read()
    assert line.startswith(
        "system.parameters: 'points.csv' is not allowed; allowed: a .csv file with a column a"
    )
    assert words in line


def test_points_outside_the_box_and_on_a_line_are_refused(read):
    (line,) = read(slice={"extent": [[-1, 1], [0, 1]]})
    assert "points.csv, line 42: (1.14286, 0) is outside slice.extent, [[-1, 1], [0, 1]]" in line
    points = GRID.points.copy()
    points[:, 0] = 3
    points[:, 1] = np.arange(len(points))
    write_points(points, NAMES)
    (line,) = read()
    assert "points.csv: a is 3 on every line, must vary" in line


def test_images_that_do_not_fit_are_refused_in_one_line(read):
    def refused(words):
        (line,) = read()
        assert line.startswith(
            "system.images: 'pictures' is not allowed; allowed: a folder or a pattern of images"
        )
        assert words in line, line

    Image.fromarray(IMAGES[0][:5]).save("pictures/05.png")
    refused("image pictures/05.png is grey of 4 x 5 pixels, must be grey of 4 x 6 pixels as pictures/00.png")
    Image.fromarray(np.zeros((6, 4, 3), np.uint8)).save("pictures/05.png")
    refused("image pictures/05.png is in colour of 4 x 6 pixels, must be grey")
    with open("pictures/05.png", "wb") as file:
        file.write(b"no image")
    refused("image pictures/05.png cannot be read (it is no PNG")
    Image.fromarray(np.zeros((6, 4), np.uint16)).save("pictures/05.png")
    refused("image pictures/05.png has the mode I;16, must have eight bits a channel")
    for target, words in (("05.png", "Too many levels of symbolic links"), ("nowhere", "No such file")):
        Path("pictures/05.png").unlink()
        Path("pictures/05.png").symlink_to(target)
        refused(f"pictures/05.png cannot be read ({words}")
    shutil.rmtree("pictures")
    refused("pictures is missing")


def test_names_whose_order_is_open_are_refused_without_a_column(read):
    write_points(GRID.points)
    for k, name in enumerate(NAMES):
        (shutil.move)(f"pictures/{name}", f"pictures/{k}.png")
    (line,) = read()
    assert "must have one where names are sorted 10.png after 1.png" not in line
    assert "points.csv has no column file, must have one where names are sorted 2.png after 19.png" in line


@pytest.mark.parametrize(
    ("values", "system", "words"),
    [
        (np.zeros((64, 6), np.uint8), {}, "is of shape (64, 6), must be (n, height, width)"),
        (np.zeros((64, 6, 4, 2), np.uint8), {}, "must be (n, height, width) or (n, height, width, 1 or 3)"),
        (np.zeros((64, 6, 4)), {}, "holds float64, must hold uint8, or floats beside system.output_range"),
        (np.zeros((64, 6, 4), np.int64), {"output_range": [0, 1]}, "holds int64, must hold uint8, or floats"),
        (np.zeros((64, 6, 4), np.uint8), {"output_range": [0, 1]}, "must hold floats for an output range"),
    ],
)
def test_arrays_that_hold_no_images_are_refused(read, values, system, words):
    np.save("images.npy", values)
    write_points(GRID.points)
    (line,) = read(system={"images": "images.npy", **system})
    assert line.startswith("system.images: 'images.npy' is not allowed; allowed: ")
    assert words in line


def test_values_outside_their_range_are_refused_when_they_are_read(tmp_path):
    values = np.full((64, 6, 4), 0.5)
    values[7, 0, 0] = 1.01
    np.save(tmp_path / "images.npy", values)
    images = describe_images(str(tmp_path / "images.npy"), [0, 1])
    assert (images.read(np.arange(7)) == 128).all()
    with pytest.raises(ValueError, match=r"image 7 of .* has values outside 0 to 1"):
        images.read(np.arange(5, 9))
    np.save(tmp_path / "half.npy", np.where(values > 1, np.inf, values).astype(np.float16))
    with pytest.raises(ValueError, match=r"image 7 of .* has values outside 0 to 1e\+06"):
        describe_images(str(tmp_path / "half.npy"), [0, 1e6]).read(np.arange(5, 9))


def test_what_such_a_study_has_no_use_for_is_refused(read):
    lines = read(
        seed=1,
        system={"steps": 5, "checkpoint": "x"},
        slice={"anchors": 1},
        sampling={"design": "sobol", "count": 100, "grid": [9, 9]},
    )
    assert lines == ["sampling.grid: [9, 9] is not allowed; allowed: [8, 8], the grid of the points"]
    lines = read(system={"steps": 5, "checkpoint": "x"}, slice={"anchors": 1}, sampling={"design": "sobol"})
    ends = {line.partition(":")[0] for line in lines if line.endswith("whose images and points are there")}
    assert ends == {"system.steps", "system.checkpoint", "slice.anchors", "sampling.design"}
    (line,) = read(system={"images": None})
    assert line.startswith("system.images: null is not allowed; allowed: a folder or a pattern of images")
    (line,) = read(embedding={"kind": "open_clip", "checkpoint": "digits"})
    assert line.endswith("an embedded CLIP knows digits alone")


def test_settings_of_own_samples_are_refused_for_other_kinds(read):
    lines = read(system={"kind": "diffusion"}, embedding={"kind": "pixels", "file": "x.npy"})
    assert {line.partition(":")[0] for line in lines} == {
        "system.images",
        "system.parameters",
        "embedding.file",
    }


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        (
            "f.npy",
            lambda: np.save("f.npy", np.ones((63, 3))),
            "f.npy has 63 rows, must have one for each of the 64 points",
        ),
        (
            "f.npy",
            lambda: np.save("f.npy", np.ones(64)),
            "f.npy is of shape (64,), must be real numbers (n, d)",
        ),
        ("f.npy", lambda: np.save("f.npy", np.array([{}])), "f.npy holds Python objects"),
        (
            "f.safetensors",
            lambda: save_file({"a": np.ones((64, 2)), "b": np.ones(1)}, "f.safetensors"),
            "holds 2 tensors",
        ),
        ("f.txt", lambda: None, "f.txt must be a file in .npy, .safetensors or .parquet"),
        ("f.parquet", lambda: None, "f.parquet is missing, must be a file of features"),
    ],
)
def test_features_that_do_not_fit_are_refused(read, name, make, words):
    make()
    (line,) = read(embedding={"kind": "file", "file": name})
    assert line.startswith(
        f"embedding.file: '{name}' is not allowed; allowed: a .npy, .safetensors or .parquet file"
    )
    assert words in line


def test_features_are_alike_in_every_kind_of_file(tmp_path):
    import pyarrow
    from pyarrow import parquet

    values = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32)
    np.save(tmp_path / "f.npy", values)
    save_file({"features": values}, tmp_path / "f.safetensors")
    parquet.write_table(pyarrow.table({f"x{k}": values[:, k] for k in range(3)}), tmp_path / "f.parquet")
    rows = np.array([4, 5, 17])
    found = [FeatureFile(tmp_path / f"f.{kind}") for kind in ("npy", "safetensors", "parquet")]
    assert {file.shape for file in found} == {(20, 3)}
    np.testing.assert_allclose(np.linalg.norm(found[0].rows(rows), axis=1), 1, atol=1e-6)
    for file in found[1:]:
        np.testing.assert_array_equal(file.rows(rows), found[0].rows(rows))
    # Rows that have names, or numbers of their own.
    frame = pd.DataFrame(
        values, columns=["x", "__y", "z"], index=pd.Index(np.arange(20)[::-1], name="number")
    )
    frame.to_parquet(tmp_path / "frame.parquet")
    np.testing.assert_array_equal(FeatureFile(tmp_path / "frame.parquet").rows(rows), found[0].rows(rows))
    # The upper halves of these floats are bfloat16.
    halves = (values.view(np.uint32) >> 16).astype(np.uint16)
    header = json.dumps({"x": {"dtype": "BF16", "shape": [20, 3], "data_offsets": [0, 120]}}).encode()
    (tmp_path / "half.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + halves.tobytes())
    half = FeatureFile(tmp_path / "half.safetensors").rows(rows)
    np.testing.assert_allclose(half, found[0].rows(rows), atol=0.01)
    values[5] = 0
    np.save(tmp_path / "f.npy", values)
    with pytest.raises(ValueError, match=r"row 5 of .*f\.npy must be finite and not zero"):
        found[0].rows(rows)
