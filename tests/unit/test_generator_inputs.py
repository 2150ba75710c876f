"""Generators in files with further inputs, other layouts, several outputs, and latents of any rank."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hessgeo.systems.generator import load_generator
from hessgeo.systems.generator_files import check_generator
from hessgeo.systems.slices import LatentSlice, random_anchors

LATENT, SIZE = 5, (4, 6)
WEIGHT = np.random.default_rng(0).normal(size=(LATENT, 3 * SIZE[0] * SIZE[1])).astype(np.float32)
CLASSES = np.random.default_rng(1).normal(size=(4, 3 * SIZE[0] * SIZE[1])).astype(np.float32)
OPTIONS = {"size": SIZE, "batch_size": 4}


def images(z, sigma=1.0, label=0):
    """``tanh(z W / sigma + V_label)`` in double precision, by hand."""
    z = z.reshape(len(z), -1).astype(np.float64)
    flat = z @ WEIGHT / np.reshape(sigma, (-1, 1)) + CLASSES[np.asarray(label, dtype=int)]
    return np.tanh(flat).reshape(-1, 3, *SIZE)


def graph(path, *, sigma=("n",), label=("n",), latent=("n", LATENT), layout="nchw"):
    """The same as ONNX: inputs ``z``, ``sigma`` and ``label``, outputs ``image`` and its negative, ``second``."""
    float_kind, whole_kind = TensorProto.FLOAT, TensorProto.INT64
    last = [1, 2, 0] if layout == "nhwc" else [0, 1, 2]
    nodes = [
        helper.make_node("Flatten", ["z"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["linear"]),
        helper.make_node("Reshape", ["sigma", "column"], ["deviation"]),
        helper.make_node("Div", ["linear", "deviation"], ["scaled"]),
        helper.make_node("Reshape", ["label", "row"], ["number"]),
        helper.make_node("Gather", ["classes", "number"], ["shift"]),
        helper.make_node("Add", ["scaled", "shift"], ["shifted"]),
        helper.make_node("Tanh", ["shifted"], ["bounded"]),
        helper.make_node("Reshape", ["bounded", "shape"], ["first"]),
        helper.make_node("Transpose", ["first"], ["image"], perm=[0, *(axis + 1 for axis in last)]),
        helper.make_node("Neg", ["image"], ["second"]),
    ]
    inputs = [
        helper.make_tensor_value_info("z", float_kind, latent),
        helper.make_tensor_value_info("sigma", float_kind, sigma),
        helper.make_tensor_value_info("label", whole_kind, label),
    ]
    shape = ["n", *np.array([3, *SIZE])[last].tolist()]
    outputs = [helper.make_tensor_value_info(name, float_kind, shape) for name in ("image", "second")]
    constants = {
        "weight": WEIGHT, "classes": CLASSES, "column": np.array([-1, 1]), "row": np.array([-1]),
        "shape": np.array([-1, 3, *SIZE]),
    }  # fmt: skip
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "g", inputs, outputs, values)
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path


class Network(torch.nn.Module):
    """The same in torch."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.from_numpy(WEIGHT))
        self.classes = torch.nn.Parameter(torch.from_numpy(CLASSES))

    def forward(self, z, sigma, label):
        x = torch.tanh(z @ self.weight / sigma[:, None] + self.classes[label])
        image = x.reshape(-1, 3, 4, 6)
        return image, -image


def exported(path):
    batch = torch.export.Dim("batch", min=1, max=64)
    example = (torch.randn(3, LATENT), torch.ones(3), torch.zeros(3, dtype=torch.int64))
    program = torch.export.export(Network(), example, dynamic_shapes=({0: batch}, {0: batch}, {0: batch}))
    torch.export.save(program, path)
    return path


def scripted(path):
    example = (torch.randn(3, LATENT), torch.ones(3), torch.zeros(3, dtype=torch.int64))
    torch.jit.save(torch.jit.trace(Network(), example), path)
    return path


def plane(latent=(LATENT,), **options):
    return LatentSlice(random_anchors(3, latent), ((0.0, 1.0), (0.0, 1.0)), **options)


def latents(n=4, latent=(LATENT,)):
    return np.random.default_rng(2).standard_normal((n, *latent))


BUILDS = {
    "onnx": lambda folder: (graph(folder / "g.onnx"), "image"),
    "exported": lambda folder: (exported(folder / "g.pt2"), None),
    "torchscript": lambda folder: (scripted(folder / "g.ts"), "0"),
}


def first_output(path, output):
    from hessgeo.weights.networks import read_network

    return output or read_network(path).outputs[0].name


@pytest.mark.parametrize("kind", BUILDS)
def test_further_inputs_are_honoured(kind, tmp_path):
    path, output = BUILDS[kind](tmp_path)
    options = OPTIONS | {"output": first_output(path, output)}
    found = []
    for sigma, label in ((1.0, 0), (2.5, 0), (2.5, 3)):
        inputs = {"sigma": sigma, "label": label}
        if kind == "torchscript":  # whose code does not say that there is one for each sample
            inputs = {name: [value] for name, value in inputs.items()}
        system = load_generator(path, plane(), **options, inputs=inputs)
        # Sums of five float32 products.
        found.append(system.outputs(latents()))
        assert np.allclose(found[-1], images(latents(), sigma, label), atol=1e-5)
    assert not np.allclose(found[0], found[1], atol=1e-2)
    assert not np.allclose(found[1], found[2], atol=1e-2)


def test_another_output_is_given_by_its_name(tmp_path):
    path, inputs = graph(tmp_path / "g.onnx"), {"sigma": 1, "label": 0}
    for name, sign in (("image", 1), ("second", -1), ("first", 1)):
        system = load_generator(path, plane(), **OPTIONS, inputs=inputs, output=name)
        assert np.allclose(system.outputs(latents()), sign * images(latents()), atol=1e-5)


def test_channels_last_are_the_transposed_images(tmp_path):
    inputs = {"sigma": 1, "label": 0}
    first, last = (
        load_generator(graph(path, layout=path.stem), plane(), **OPTIONS, inputs=inputs, output="image")
        for path in (tmp_path / "nchw.onnx", tmp_path / "nhwc.onnx")
    )
    t = np.random.default_rng(4).uniform(size=(6, 2))
    assert np.array_equal(first.sample(t, np.arange(6), 0), last.sample(t, np.arange(6), 0))
    assert first.sample_shape == (*SIZE, 3)


@pytest.mark.parametrize("latent", [(LATENT,), (1, LATENT), (LATENT, 1, 1), (1, LATENT, 1, 1)])
def test_latents_have_any_rank(latent, tmp_path):
    path = graph(tmp_path / "g.onnx", latent=("n", *latent))
    options = OPTIONS | {"inputs": {"sigma": 1, "label": 0}, "output": "image"}
    check_generator(path, latent=latent, **{k: v for k, v in options.items() if k != "batch_size"})
    system = load_generator(path, plane(latent), **options)
    z = latents(latent=latent)
    assert np.allclose(system.outputs(z), images(z), atol=1e-5)


# --- inputs that differ from sample to sample ---


@pytest.mark.parametrize("sigma", [("n",), ("n", 1), ()])
def test_an_axis_of_the_slice_may_be_an_input(sigma, tmp_path):
    path = graph(tmp_path / "g.onnx", sigma=sigma)
    varied = LatentSlice(random_anchors(3, (LATENT,)), ((0.0, 1.0), (0.5, 4.0)), axes=("latent", "sigma"))
    system = load_generator(path, varied, **OPTIONS, inputs={"label": 2}, output="image")
    t = np.array([[0.2, 0.5], [0.2, 4.0], [0.9, 0.5], [0.4, 2.0], [0.1, 2.0]])
    expected = images(varied.latents(t), t[:, 1], 2)
    pixels = system.sample(t, np.arange(5), 0)
    levels = 255 * (expected / 2 + 0.5).transpose(0, 2, 3, 1)
    # Either of the two levels that a value lies between.
    assert np.abs(pixels - levels).max() < 0.51
    assert np.array_equal(pixels[3:4], system.sample(t[3:4], np.arange(3, 4), 0)), "whatever the batch"


def test_a_class_may_vary_where_it_is_whole(tmp_path):
    path = graph(tmp_path / "g.onnx")
    varied = LatentSlice(random_anchors(3, (LATENT,)), ((0.0, 1.0), (0.0, 3.0)), axes=("latent", "label"))
    system = load_generator(path, varied, **OPTIONS, inputs={"sigma": 1}, output="image")
    t = np.array([[0.2, 0.0], [0.2, 3.0]])
    pixels = system.sample(t, np.arange(2), 0)
    levels = 255 * (images(varied.latents(t), 1, t[:, 1]) / 2 + 0.5).transpose(0, 2, 3, 1)
    assert np.abs(pixels - levels).max() < 0.51
    with pytest.raises(ValueError, match="takes label of type int64, which does not hold"):
        system.sample(np.array([[0.2, 0.5]]), np.arange(1), 0)


# --- what is refused, before anything runs ---


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (
            {"inputs": {"sigma": 1}},
            "needs the inputs z, label; export a wrapper .* or give each but the latents a value",
        ),
        ({"inputs": {"sigma": 1, "class": 3}}, "has no input 'class', must be one of z, sigma, label"),
        ({"inputs": {"z": 1, "sigma": 1, "label": 0}}, "needs the inputs none"),
        ({"inputs": {"sigma": [1, 2], "label": 0}}, r"takes sigma of shape \(n\), not \(2\)"),
        ({"inputs": {"sigma": 1, "label": 0.5}}, "takes label of type int64, which does not hold 0.5"),
        ({"inputs": {"sigma": "x", "label": 0}}, "takes sigma of type float32, not 'x'"),
        ({"inputs": {"sigma": np.inf, "label": 0}}, "takes sigma of type float32, which does not hold inf"),
        ({"output": "third"}, "has no output 'third', must be one of image, second"),
        ({"output": None}, "gives image, second, must give the images alone, or output must name one"),
        (
            {"layout": "nhwc"},
            r"gives images of shape \(n, 3, 4, 6\), must be \(n, 3, 4, 6\): .* or channels last",
        ),
    ],
)
def test_inputs_and_outputs_that_cannot_be_are_refused_in_one_line(settings, line, tmp_path):
    path = graph(tmp_path / "g.onnx")
    given = {"inputs": {"sigma": 1, "label": 0}, "output": "image", "size": SIZE, **settings}
    with pytest.raises(ValueError, match=line) as raised:
        check_generator(path, **given)
    assert "\n" not in str(raised.value)
