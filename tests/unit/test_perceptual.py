"""LPIPS as a squared distance of features, against its formula on a narrow network of random weights."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file
from torchvision.models import vgg16
from torchvision.models.vgg import make_layers

from hessgeo import store
from hessgeo.features.lpips_checkpoint import BLOCKS, LpipsCheckpoint, convolution_names
from hessgeo.grids import Grid
from hessgeo.pipeline.paths import feature_maps
from hessgeo.systems.slices import LatentSlice

WIDTHS = (4, 4, "M", 6, 6, "M", 8, 8, 8, "M", 10, 10, 10, "M", 12, 12, 12, "M")
CHANNELS = (4, 6, 8, 10, 12)
ENDS = (3, 8, 15, 22, 29)  # the activations that are compared, among the layers of VGG-16


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    layers = make_layers(WIDTHS)
    for parameter in layers.parameters():
        parameter.data.normal_(0, 0.3)
    return layers.eval()


@pytest.fixture(scope="module")
def linear():
    generator = torch.Generator().manual_seed(1)
    return {
        f"lin{k}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for k, c in enumerate(CHANNELS)
    }


@pytest.fixture(scope="module")
def files(network, linear, tmp_path_factory):
    """Files in every layout that is read: torchvision's, its features', that of lpips, its linear weights alone."""
    folder = tmp_path_factory.mktemp("lpips")
    state = network.state_dict()
    blocks = {layer: f"net.slice{k + 1}.{layer}" for k, block in enumerate(BLOCKS) for layer in block}
    whole = {
        f"{blocks[int(layer)]}.{part}": tensor
        for (layer, part), tensor in ((name.split("."), tensor) for name, tensor in state.items())
    }
    contents = {
        "torchvision": {
            **{f"features.{name}": tensor for name, tensor in state.items()},
            "classifier.0.weight": torch.zeros(2, 2),
        },
        "features": state,
        "lpips": {**whole, **linear},
        "linear": linear,
    }
    for name, tensors in contents.items():
        save_file(tensors, folder / f"{name}.safetensors")
    return {name: folder / f"{name}.safetensors" for name in contents}


def lpips(network, images, linear=None):
    """LPIPS of two images, layer by layer as its paper writes it."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).double() / 255
    # Mean and deviation of ImageNet from 0 to 1; what lpips does from -1 to 1 is the same.
    mean = torch.tensor([0.485, 0.456, 0.406], dtype=x.dtype)[:, None, None]
    deviation = torch.tensor([0.229, 0.224, 0.225], dtype=x.dtype)[:, None, None]
    x, total = (x - mean) / deviation, 0.0
    with torch.no_grad():
        for place, layer in enumerate(network[:30]):
            x = torch.nn.functional.relu(x) if isinstance(layer, torch.nn.ReLU) else layer.double()(x)
            if place in ENDS:
                unit = x / (x**2).sum(dim=1, keepdim=True).sqrt().clamp(min=1e-10)
                squares = (unit[0] - unit[1]) ** 2
                if linear is not None:
                    weight = linear[f"lin{ENDS.index(place)}.model.1.weight"][0].double()
                    squares = weight * squares
                total += float(squares.sum(dim=0).mean())
    network.float()
    return total


def photographs(count, height=20, width=33, channels=3):
    return np.random.default_rng(0).integers(0, 256, (count, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("layout", ["torchvision", "features"])
def test_squared_distance_is_lpips_with_weights_of_one(network, files, layout):
    images = photographs(2)
    features = LpipsCheckpoint(files[layout]).load()(images)
    assert features.dtype == np.float32
    # Single precision, through thirteen convolutions.
    assert ((features[0] - features[1]) ** 2).sum() == pytest.approx(lpips(network, images), rel=1e-4)
    assert LpipsCheckpoint(files[layout]).dimension((20, 33, 3)) == features.shape[1]


def test_squared_distance_is_lpips_with_its_linear_weights(network, files, linear):
    images = photographs(2)
    expected = lpips(network, images, linear)
    assert expected < 0.9 * lpips(network, images)
    for model in (
        LpipsCheckpoint(files["features"], linear=files["linear"]).load(),
        LpipsCheckpoint(files["lpips"]).load(),
    ):
        features = model(images)
        assert ((features[0] - features[1]) ** 2).sum() == pytest.approx(expected, rel=1e-4)


def test_names_are_those_of_torchvision():
    with torch.device("meta"):
        state = vgg16(weights=None).features.state_dict()
    assert {f"{layer}.{part}" for block in BLOCKS for layer in block for part in ("weight", "bias")} == set(
        state
    )


def test_images_are_shrunk_to_the_shorter_side_and_one_channel_stands_for_three(files):
    large = np.full((1, 64, 96, 1), 77, dtype=np.uint8)
    model = LpipsCheckpoint(files["features"], size=32).load()
    features = model(large)
    assert features.shape == (1, LpipsCheckpoint(files["features"], size=32).dimension((64, 96, 3)))
    # Of one colour, an image is the same at any size.
    small = np.full((1, 32, 48, 3), 77, dtype=np.uint8)
    np.testing.assert_allclose(features, model(small), atol=1e-6)
    assert LpipsCheckpoint(files["features"], size=32).load()(small).shape == features.shape


def test_features_do_not_depend_on_the_batch(files, monkeypatch):
    images, model = photographs(5), LpipsCheckpoint(files["features"]).load()
    whole = model(images)
    monkeypatch.setattr("hessgeo.features.lpips.PIXELS_AT_ONCE", 20 * 33 * 2)
    np.testing.assert_allclose(model(images), whole, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 8, 8, 1), (1, 16, 16, 4)])
def test_images_that_are_too_small_or_have_other_channels_are_refused(files, shape):
    with pytest.raises(ValueError, match="at least 16 pixels"):
        LpipsCheckpoint(files["features"]).load()(np.zeros(shape, np.uint8))


def test_a_tensor_that_is_missing_or_of_another_shape_is_named(network, linear, files, tmp_path):
    state = network.state_dict()
    path = tmp_path / "other.safetensors"
    save_file({name: tensor for name, tensor in state.items() if name != "12.bias"}, path)
    with pytest.raises(ValueError, match=r"no tensor features\.12\.bias"):
        convolution_names(path)
    save_file({**state, "5.weight": torch.zeros(6, 5, 3, 3)}, path)
    with pytest.raises(ValueError, match=r"\(6, 5, 3, 3\) tensor 5\.weight"):
        convolution_names(path)
    save_file({name: tensor for name, tensor in linear.items() if "lin3" not in name}, path)
    with pytest.raises(ValueError, match=r"no tensor lin3\.model\.1\.weight"):
        LpipsCheckpoint(files["features"], linear=path).load()
    save_file({**linear, "lin1.model.1.weight": torch.zeros(1, 5, 1, 1)}, path)
    with pytest.raises(ValueError, match=r"\(1, 5, 1, 1\) tensor lin1"):
        LpipsCheckpoint(files["features"], linear=path).load()
    save_file({name: -tensor for name, tensor in linear.items()}, path)
    with pytest.raises(ValueError, match="negative"):
        LpipsCheckpoint(files["features"], linear=path).load()
    with pytest.raises(ValueError, match="no linear weights"):
        LpipsCheckpoint(files["features"], linear=files["features"]).load()
    with pytest.raises(ValueError, match="of its own"):
        LpipsCheckpoint(files["lpips"], linear=files["linear"]).load()


@pytest.mark.parametrize(
    ("name", "tensor", "message"),
    [
        ("features.0.scale_weight", torch.ones(()), "a scale of quantised weights"),
        ("features.1.weight", torch.ones(4), "holds features.1.weight, which neither VGG-16 nor LPIPS has"),
        ("features.34.bias", torch.ones(4), "holds features.34.bias, which neither"),
        ("extra", torch.ones(4), "holds extra, which neither"),
        ("net.slice1.0.weight", torch.ones(4, 3, 3, 3), "weight beside .*0.weight"),
    ],
)
def test_a_tensor_that_nothing_reads_is_refused(network, tmp_path, name, tensor, message):
    layers = {f"features.{key}": value for key, value in network.state_dict().items()}
    save_file(layers | {"classifier.6.bias": torch.ones(2)}, tmp_path / "x.safetensors")
    convolution_names(tmp_path / "x.safetensors")
    save_file(layers | {name: tensor}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=message):
        convolution_names(tmp_path / "x.safetensors")


def test_linear_weights_come_with_nothing_else(files, linear, tmp_path):
    twice = {f"lins.{name[3:]}": value.clone() for name, value in linear.items()}
    save_file(linear | twice | {"scaling_layer.shift": torch.ones(1, 3, 1, 1)}, tmp_path / "x.safetensors")
    LpipsCheckpoint(files["features"], linear=tmp_path / "x.safetensors").load()
    save_file(linear | {"lin5.model.1.weight": torch.ones(1, 4, 1, 1)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match=r"holds lin5\.model\.1\.weight, which LPIPS has not"):
        LpipsCheckpoint(files["features"], linear=tmp_path / "x.safetensors").load()


def test_a_pickle_is_refused(tmp_path):
    path = tmp_path / "vgg16.pth"
    torch.save({"features.0.weight": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="is a pickle"):
        LpipsCheckpoint(path).load()


class Colours:
    """Images of 16 x 16 whose colours are smooth functions of the point."""

    def sample(self, t, index, seed):
        phase = t @ np.random.default_rng(5).normal(size=(2, 16 * 16 * 3))
        return np.rint(127.5 * (1 + np.sin(phase))).astype(np.uint8).reshape(len(t), 16, 16, 3)


def test_table_2_has_geodesics_and_lengths_of_lpips(files, main_of, tmp_path, caplog):
    grid = Grid(((-1.0, 1.0), (-1.0, 1.0)), (9, 9))
    settings = {
        "methods": ["linear", "fisher", "perceptual", "density"], "pairs": 3, "margin": 0.1, "points": 12,
        "waypoints": 4, "refinement": 1, "spacing": "fisher", "floor": 1e-2, "smoothing": 1.0, "confidence": 0.95,
        "doublings": 0, "path_length_epsilon": 0.05, "path_length_places": 3, "path_length_clip": None,
        "shown": 2,
    }  # fmt: skip
    lpips = {"kind": "lpips", "checkpoint": str(files["lpips"]), "linear": None, "size": 64}
    images = Colours().sample(grid.points, None, 0)
    unit = (images.reshape(81, -1) / np.linalg.norm(images.reshape(81, -1), axis=1, keepdims=True)).astype(
        "f4"
    )
    maps, plane = feature_maps(lpips), LatentSlice(np.eye(3, 5), grid.extent)
    output = SimpleNamespace(**{name: tmp_path / name for name in ("paths", "numbers", "scores", "strips")})
    field = (("a", "b", "i", "j"), np.broadcast_to(np.eye(2), (9, 9, 2, 2)))
    fisher = xr.Dataset({"fisher_metric": field}, attrs={"verdict": "resolved"})
    left_out = {"density": "a density"}
    with caplog.at_level("WARNING"):
        about = (maps, left_out, plane, grid, settings, 0, output)
        main_of("solve_geodesics")(fisher, images.__getitem__, unit.__getitem__, None, *about)
    assert "without the method density, which needs a density" in caplog.text
    assert store.read_json(output.numbers)["left_out"] == left_out
    paths = store.read_dataset(output.paths)
    assert list(paths["method"].to_numpy()) == ["linear", "fisher", "perceptual"]
    main_of("score_paths")(
        paths,
        np.ones(grid.shape, int),
        Colours(),
        lambda x: x.reshape(len(x), -1),
        maps,
        grid,
        settings,
        0,
        output,
    )
    scores = store.read_table(output.scores)
    found = scores.groupby("method")["perceptual"].mean()
    assert (found > 0).all()
    # The geodesic of LPIPS is the shorter one in LPIPS, up to what few nodes and way-points resolve.
    assert found["perceptual"] < found["linear"] * 1.02
