"""Embeddings by networks in files: each option against the same done by hand."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from hessgeo.features import describe_embedding, embedding_dimension, load_embedding

SIZE = (4, 6)
WEIGHT = np.random.default_rng(0).standard_normal((3 * 4 * 6, 5)).astype(np.float32)
MEAN, STD = [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]
INPUT = {"mean": MEAN, "std": STD}


def images(n=3, size=SIZE, channels=3):
    return np.random.default_rng(1).integers(0, 256, (n, *size, channels), dtype=np.uint8)


def graph(path, shape=("n", 3, 4, 6), *, outputs=("y",), kind=TensorProto.FLOAT, cast=False):
    """``x W`` of flattened images, and the hyperbolic tangent of it, by names ``linear`` and ``y``."""
    nodes = [helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT)] if cast else []
    nodes += [
        helper.make_node("Flatten", ["real" if cast else "x"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weight"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["y"]),
    ]
    declared = [helper.make_tensor_value_info("x", kind, shape)]
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], 5]) for name in outputs]
    weight = WEIGHT[: len(WEIGHT) if 3 in shape else len(WEIGHT) // 3]
    made = helper.make_graph(nodes, "g", declared, given, [numpy_helper.from_array(weight, "weight")])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def exported(path):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(WEIGHT))

        def forward(self, x):
            return torch.tanh(x.flatten(1) @ self.weight)

    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = ({0: batch},)
    torch.export.save(torch.export.export(Linear(), (torch.zeros(2, 3, *SIZE),), dynamic_shapes=shapes), path)
    return path


def scripted(path):
    class Linear(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(WEIGHT))

        def forward(self, x):
            return torch.tanh(x.flatten(1) @ self.weight)

    torch.jit.save(torch.jit.script(Linear()), path)
    return path


def load(path, image_shape=(*SIZE, 3), **options):
    return describe_embedding("network", path, **{"input": INPUT, **options}).load(image_shape)


def unit(features):
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def standard(x, mean=MEAN, std=STD):
    """Images (n, h, w, c) as the network takes them, by hand."""
    return ((x / 255 - mean) / std).transpose(0, 3, 1, 2)


def by_hand(x, f=np.tanh):
    return unit(f(x.reshape(len(x), -1) @ WEIGHT))


@pytest.mark.parametrize(
    "build",
    [lambda folder: graph(folder / "e.onnx"), lambda folder: exported(folder / "e.pt2"),
     lambda folder: scripted(folder / "e.ts")],
    ids=["onnx", "exported", "torchscript"],
)  # fmt: skip
def test_each_kind_of_file_is_the_map_by_hand(build, tmp_path):
    embedding = load(build(tmp_path))
    # Sums of 72 float32 products of a size of one.
    assert np.allclose(embedding(images()), by_hand(standard(images())), atol=1e-4)
    assert embedding.dimension == 5
    assert np.allclose(np.linalg.norm(embedding(images()), axis=1), 1, atol=1e-6)


def test_channels_last_is_the_transposed_network(tmp_path):
    embedding = load(graph(tmp_path / "e.onnx", ("n", 4, 6, 3)))
    x = standard(images()).transpose(0, 2, 3, 1)
    assert np.allclose(embedding(images()), by_hand(x), atol=1e-4)


def test_bgr_is_the_network_of_flipped_channels(tmp_path):
    path = graph(tmp_path / "e.onnx")
    embedding = load(path, input={**INPUT, "channels": "bgr"})
    # Mean and deviation are in the order of the network's own channels.
    assert np.allclose(embedding(images()), load(path)(images()[..., ::-1]), atol=1e-6)
    assert not np.allclose(embedding(images()), load(path)(images()), atol=1e-2)


def test_mean_and_deviation_may_be_a_number_for_all(tmp_path):
    path = graph(tmp_path / "e.onnx")
    one, three = (load(path, input={"mean": m, "std": s}) for m, s in ((0.5, 0.25), ([0.5] * 3, [0.25] * 3)))
    assert np.array_equal(one(images()), three(images()))
    assert np.allclose(one(images()), by_hand(standard(images(), 0.5, 0.25)), atol=1e-4)


def test_one_channel_takes_the_luma(tmp_path):
    embedding = load(graph(tmp_path / "e.onnx", ("n", 1, 4, 6)), input={"mean": 0, "std": 1})
    grey = images() / 255 @ np.array([0.299, 0.587, 0.114])
    expected = unit(np.tanh(grey.reshape(3, -1) @ WEIGHT[: 4 * 6]))
    assert np.allclose(embedding(images()), expected, atol=1e-4)
    plain = images(channels=1)
    assert np.allclose(embedding(plain), embedding(np.repeat(plain, 3, axis=3)), atol=1e-5)


def test_eight_bits_come_as_they_are(tmp_path):
    path = graph(tmp_path / "e.onnx", kind=TensorProto.UINT8, cast=True)
    embedding = load(path, input={}, output="linear")
    expected = by_hand(images().transpose(0, 3, 1, 2).astype(np.float64), lambda x: x)
    assert np.allclose(embedding(images()), expected, atol=1e-5)
    with pytest.raises(ValueError, match=r"input.mean is \[0.1, 0.2, 0.3\], must be left out: .* eight bits"):
        describe_embedding("network", path, input=INPUT).check()


def test_a_tensor_inside_embeds_by_its_name(tmp_path):
    embedding = load(graph(tmp_path / "e.onnx"), output="linear")
    assert np.allclose(embedding(images()), by_hand(standard(images()), lambda x: x), atol=1e-5)
    assert (
        describe_embedding("network", tmp_path / "e.onnx", input=INPUT, output="linear").dimension((4, 6, 3))
        == 5
    )


def test_images_of_another_size_are_resized_and_a_batch_may_be_fixed(tmp_path):
    whole = load(graph(tmp_path / "e.onnx"))
    fixed = load(graph(tmp_path / "f.onnx", (2, 3, 4, 6)))
    large = np.kron(images(5), np.ones((1, 2, 2, 1), np.uint8))
    # Each pixel twice, shrunk again: nearly the image, which the bicubic filter blurs a little.
    assert (whole(large) * whole(images(5))).sum(axis=1).min() > 0.9
    assert np.allclose(fixed(images(5)), whole(images(5)), atol=1e-6)


def test_settings_say_what_is_loaded(tmp_path):
    path = str(graph(tmp_path / "e.onnx", ("n", 3, "h", "w"), outputs=("y", "linear")))
    settings = {"kind": "network", "model": None, "size": None, "dtype": "float32", "output": "linear"}
    settings |= {"input": {**INPUT, "size": [4, 6], "layout": None, "channels": None}}
    embedding = load_embedding(settings, path, (8, 12, 3), device="cpu")
    expected = load(path, output="linear")
    assert np.array_equal(embedding(images()), expected(images()))
    assert embedding_dimension(settings, path, (8, 12, 3)) == 5


@pytest.mark.parametrize(
    ("shape", "options", "line"),
    [
        (("n", 3, 4, 6), {"input": {"mean": 0.5}}, "input.std is null, must be what .* no file says it"),
        (("n", 3, 4, 6), {"input": {**INPUT, "size": [4, 4]}}, r"input.size is \[4, 4\], .* \(n, 3, 4, 6\)"),
        (("n", 3, "h", 6), {}, r"input.size is null, must be \[height, width\]"),
        (("n", 3, 4, 6), {"input": {**INPUT, "layout": "nhwc"}}, "must have input.layout nchw"),
        (("n", 4, 6, 3), {"input": {**INPUT, "layout": "nchw"}}, "must have input.layout nhwc"),
        (("n", 3, 4, 6), {"input": {**INPUT, "channels": "grey"}}, "input.channels is grey, .* 3 channels"),
        (("n", 3, 4, 6), {"input": {"mean": [0, 0], "std": 1}}, r"input.mean is \[0, 0\], must be a number or 3"),
        (("n", 3, 4, 6), {"input": {"mean": 0, "std": 0}}, "input.std is 0, must be above 0"),
        (("n", 5, 4, 6), {}, "must have one or three channels"),
        (("n", 3), {}, r"takes images of shape \(n, 3\), must take"),
        (("n", 3, 4, 6), {"output": "z"}, "has no output 'z', must be one of y, flat, linear"),
        (("n", 3, 4, 6), {"model": "resnet18"}, "model is 'resnet18', must be null"),
    ],
)  # fmt: skip
def test_what_contradicts_the_file_is_refused_in_one_line(shape, options, line, tmp_path):
    path = graph(tmp_path / "e.onnx", shape)
    with pytest.raises(ValueError, match=line) as raised:
        describe_embedding("network", path, **{"input": INPUT, **options}).check()
    assert "\n" not in str(raised.value)


def test_several_outputs_need_a_name(tmp_path):
    path = graph(tmp_path / "e.onnx", outputs=("y", "linear"))
    with pytest.raises(
        ValueError, match="gives y, linear, must give the features alone, or output must name one"
    ):
        describe_embedding("network", path, input=INPUT).check()


def test_half_precision_is_the_files_own_matter(tmp_path):
    with pytest.raises(ValueError, match="dtype is 'float16', must be float32"):
        describe_embedding("network", graph(tmp_path / "e.onnx"), input=INPUT).load(
            (4, 6, 3), dtype="float16"
        )
