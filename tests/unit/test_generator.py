"""Generators from TorchScript and ONNX files against the same map in NumPy."""

import numpy as np
import onnx
import pytest
import torch
from imports import heavy_after
from onnx import TensorProto, helper, numpy_helper

from hessgeo.systems.generator import FileGenerator, Generator, GeneratorSystem, load_generator
from hessgeo.systems.generator_files import check_generator
from hessgeo.systems.slices import LatentSlice, random_anchors

LATENT, SIZE, CHANNELS = 5, (4, 6), 3
WEIGHT = np.random.default_rng(0).normal(size=(LATENT, CHANNELS * SIZE[0] * SIZE[1])).astype(np.float32)
OPTIONS = {"size": SIZE, "channels": CHANNELS, "batch_size": 4}


class Network(torch.nn.Module):
    """``tanh(z W)``, as images."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(scale * WEIGHT).float())

    def forward(self, z):
        return torch.tanh(z @ self.weight).reshape(z.shape[0], 3, 4, 6)


class Labelled(Network):
    def forward(self, z, c):
        return torch.tanh(z @ self.weight).reshape(z.shape[0], 3, 4, 6) + c


class Truncated(Network):
    def forward(self, z, psi: float = 1.0):
        return torch.tanh(psi * (z @ self.weight)).reshape(z.shape[0], 3, 4, 6)


class Pair(Network):
    def forward(self, z):
        images = torch.tanh(z @ self.weight).reshape(z.shape[0], 3, 4, 6)
        return images, z


class Noisy(Network):
    def forward(self, z):
        images = torch.tanh(z @ self.weight).reshape(z.shape[0], 3, 4, 6)
        return images + 0.1 * torch.randn_like(images)


def reference(z):
    return np.tanh(z.astype(np.float64) @ WEIGHT.astype(np.float64)).reshape(-1, CHANNELS, *SIZE)


def torchscript(path, network=None):
    torch.jit.save(torch.jit.script(network or Network()), path)
    return path


def onnx_file(path, *, batch="n", latent=LATENT, inputs=(), outputs=(), scale=1.0, default_psi=False):
    """``tanh(psi z W)`` as an ONNX graph, with further inputs and outputs that it declares."""
    constants = [
        numpy_helper.from_array(scale * WEIGHT, "weight"),
        numpy_helper.from_array(np.array([-1, CHANNELS, *SIZE]), "shape"),
        numpy_helper.from_array(np.array(1, dtype=np.float32), "psi"),
    ]
    declared = [helper.make_tensor_value_info("z", TensorProto.FLOAT, [batch, latent])]
    declared += [helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in inputs]
    if default_psi:
        declared.append(helper.make_tensor_value_info("psi", TensorProto.FLOAT, []))
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["linear"]),
        helper.make_node("Mul", ["linear", "psi"], ["scaled"]),
        helper.make_node("Tanh", ["scaled"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "shape"], ["image"]),
    ]
    results = [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, CHANNELS, *SIZE])]
    results += [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes, "generator", declared, results, constants)
    # Versions that many releases of the runtime read.
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def plane(latent=(LATENT,)):
    return LatentSlice(random_anchors(3, latent), ((0.0, 1.0), (0.0, 1.0)))


def points(n=11):
    return np.random.default_rng(1).uniform(size=(n, 2))


def draw(system, t):
    return system.sample(t, np.arange(len(t)), 0)


FILES = [
    pytest.param(lambda folder: torchscript(folder / "g.pt"), id="torchscript"),
    pytest.param(lambda folder: torchscript(folder / "g.ts", Truncated()), id="torchscript with a default"),
    pytest.param(lambda folder: onnx_file(folder / "g.onnx"), id="onnx"),
    pytest.param(lambda folder: onnx_file(folder / "g.onnx", batch=3), id="onnx of a fixed batch"),
    pytest.param(lambda folder: onnx_file(folder / "g.onnx", default_psi=True), id="onnx with a default"),
]


@pytest.mark.parametrize("build", FILES)
def test_images_are_those_of_the_map(build, tmp_path):
    path = build(tmp_path)
    check_generator(path)
    system = load_generator(path, plane(), **OPTIONS)
    z, t = plane().latents(points()), points()
    batch = z[: system.batch_size]
    # Sums of five float32 products, of size a few.
    assert np.allclose(system.outputs(batch), reference(batch), atol=1e-5)
    images = draw(system, t)
    assert images.shape == (11, *SIZE, CHANNELS)
    assert images.dtype == system.dtype == np.uint8
    levels = 255 * (reference(z) / 2 + 0.5).transpose(0, 2, 3, 1)
    # Which way a value goes that float32 leaves within 1e-3 of the middle of two levels is anyone's guess.
    clear = np.abs(levels % 1 - 0.5) > 1e-3
    assert clear.mean() > 0.99
    assert np.array_equal(images[clear], np.round(levels)[clear])
    assert len(np.unique(images)) > 100


@pytest.mark.parametrize("build", FILES)
def test_images_do_not_depend_on_shards(build, tmp_path):
    system, t = load_generator(build(tmp_path), plane(), **OPTIONS), points()
    parts = [draw(system, part) for part in (t[:1], t[1:8], t[8:])]
    assert np.array_equal(draw(system, t), np.concatenate(parts))


def test_onnx_of_a_fixed_batch_says_its_own(tmp_path):
    assert load_generator(onnx_file(tmp_path / "g.onnx", batch=3), plane(), **OPTIONS).batch_size == 3
    assert load_generator(onnx_file(tmp_path / "h.onnx"), plane(), **OPTIONS).batch_size == 4


@pytest.mark.parametrize("output_range", [(-1, 1), (0, 1), (0, 255)])
def test_range_of_the_output(output_range, tmp_path):
    generator = FileGenerator(torchscript(tmp_path / "g.pt"))
    system = GeneratorSystem(generator, plane(), **OPTIONS, output_range=output_range)
    low, high = output_range
    values = low + (high - low) * np.array([-1.0, 0.0, 0.2, 1.0, 7.0]).reshape(1, 1, 1, 5)
    assert system.quantise(values).ravel().tolist() == [0, 0, 51, 255, 255]


def test_half_precision_archive_takes_the_latents(tmp_path):
    path = torchscript(tmp_path / "g.pt", Network().half())
    z = plane().latents(points(4))
    # Weights and sums of a few units rounded to 11 bits.
    assert np.allclose(load_generator(path, plane(), **OPTIONS).outputs(z), reference(z), atol=2e-2)


def checkpoint(folder):
    torch.save(Network().state_dict(), folder / "g.pt")
    return folder / "g.pt"


def old_checkpoint(folder):
    torch.save(Network().state_dict(), folder / "g.pth", _use_new_zipfile_serialization=False)
    return folder / "g.pth"


def empty(folder, name, content=b""):
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (checkpoint, r"is a pickle .* must be TorchScript or of torch\.export.*torch\.export\.save"),
        (old_checkpoint, r"is a pickle .* must be TorchScript"),
        (lambda folder: folder / "none.pt", "is missing"),
        (lambda folder: empty(folder, "g.onnx"), "is not an ONNX file"),
        (lambda folder: empty(folder, "g.safetensors"), r"must be a TorchScript archive .* or an ONNX file"),
        (lambda folder: folder, "must be a TorchScript archive"),
    ],
)
def test_other_files_are_refused_when_settings_are_read(build, message, tmp_path):
    path = build(tmp_path)
    for refuse in (check_generator, lambda path: load_generator(path, plane(), **OPTIONS)):
        with pytest.raises(ValueError, match=message) as raised:
            refuse(path)
        assert "\n" not in str(raised.value)


def many(build, **options):
    return lambda folder: build(folder / ("g.onnx" if build is onnx_file else "g.pt"), **options)


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (
            many(onnx_file, inputs=("c", "truncation")),
            {},
            "needs the inputs z, c, truncation; export a wrapper",
        ),
        (many(onnx_file, outputs=("linear",)), {}, "gives image, linear, must give the images alone"),
        (many(onnx_file), {"latent": (7,)}, r"slice has shape \(7,\), .* takes \(5,\)"),
        (many(onnx_file), {"latent": (5, 1)}, r"slice has shape \(5, 1\), .* takes \(5,\)"),
        (many(onnx_file, latent="d"), {"latent": (7,)}, r"fails on z of shape \(2, 7\)"),
        (many(torchscript), {"latent": (7,)}, r"fails on z of shape \(2, 7\): .*2x7 and 5x72"),
        (many(torchscript, network=Labelled()), {}, "needs the inputs z, c; export a wrapper"),
        (
            many(torchscript, network=Pair()),
            {},
            "gives 0, 1, must give the images alone, or output must name one",
        ),
        (many(torchscript, network=Noisy()), {}, "draws its own noise"),
        (many(torchscript), {"size": (6, 4)}, r"shape \(2, 3, 4, 6\), must be \(2, 3, 6, 4\)"),
        (many(onnx_file), {"channels": 1}, r"shape \(2, 3, 4, 6\), must be \(2, 1, 4, 6\)"),
        (many(onnx_file), {"channels": 2}, r"channels is 2, must be 1 \(grey\) or 3 \(RGB\)"),
        (many(onnx_file), {"output_range": (1, -1)}, r"output_range is \[1, -1\]"),
        (many(onnx_file), {"batch_size": 0}, "batch_size is 0"),
        (many(onnx_file), {"size": (0, 4)}, r"size is \[0, 4\]"),
        (
            lambda folder: empty(folder, "g.onnx", b"\x08\x08 nothing"),
            {},
            "is not an ONNX file, or is cut short",
        ),
    ],
)
def test_other_networks_are_refused_when_loading(build, changes, message, tmp_path):
    latent = plane(changes.get("latent", (LATENT,)))
    options = OPTIONS | {key: value for key, value in changes.items() if key != "latent"}
    with pytest.raises(ValueError, match=message) as raised:
        load_generator(build(tmp_path), latent, **options)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("build", [torchscript, onnx_file])
def test_values_that_are_not_finite_are_refused(build, tmp_path):
    extra = {"network": Network(scale=np.nan)} if build is torchscript else {"scale": np.float32(np.nan)}
    with pytest.raises(FloatingPointError, match="not finite"):
        load_generator(many(build, **extra)(tmp_path), plane(), **OPTIONS)


def test_checking_needs_no_torch(tmp_path):
    code = "from hessgeo.systems.generator_files import check_generator; check_generator(sys.argv[1])"
    assert heavy_after(code, torchscript(tmp_path / "g.pt")) == []


def test_a_system_of_another_generator():
    class Constant(Generator):
        name, latent_shape, batch = "constant", (None,), None

        def __call__(self, z, conditions=None):
            return np.zeros((len(z), 1, 2, 2), dtype=np.float32)

    system = GeneratorSystem(Constant(), plane(), size=(2, 2), channels=1, batch_size=3)
    assert np.array_equal(draw(system, points(4)), np.full((4, 2, 2, 1), 128))
