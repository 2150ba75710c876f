"""What an ONNX file says without being run: shapes, types, and the files beside it."""

import contextlib
import random
import shutil

import numpy as np
import onnx
import pytest
from imports import heavy_after
from onnx import TensorProto, helper, numpy_helper

from hessgeo.systems.generator_files import check_generator
from hessgeo.weights.declared import Declared
from hessgeo.weights.networks import read_network
from hessgeo.weights.onnx import MOST_FIELDS, read_onnx

Z, IMAGE = ["n", 16], ["n", 3, 8, 8]
SETTINGS = {"latent": (16,), "size": (8, 8), "channels": 3}


def value(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, shape)


def write(path, *, inputs=None, output=None, nodes=(), companion=None, **options):
    """A graph whose header is as given; nothing here runs it."""
    weights = numpy_helper.from_array(np.ones((16, 192), np.float32), "weight")
    nodes = [helper.make_node("MatMul", ["z", "weight"], ["image"]), *nodes]
    graph = helper.make_graph(
        nodes, "g", inputs or [value("z", Z)], [output or value("image", IMAGE)], [weights]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8, **options)
    external = {"save_as_external_data": True, "location": companion, "size_threshold": 0}
    onnx.save(model, path, **(external if companion else {}))
    return path


def edit(path, change):
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def refused(path, **settings):
    with pytest.raises(ValueError, match=r"\.(onnx|data)") as raised:
        check_generator(path, **SETTINGS | settings)
    assert "\n" not in str(raised.value)
    return str(raised.value).replace(f"{path.parent}/", "")


def test_the_header_is_what_onnx_says_it_is(tmp_path):
    path = write(
        tmp_path / "g.onnx",
        inputs=[value("z", [None, 16]), value("weight", [16, 192])],
        output=value("image", [4, 3, "h", 8], TensorProto.FLOAT16),
    )
    header = read_onnx(path)
    # An input with a value in the file need not be given.
    assert header.inputs == (Declared("z", "float32", (None, 16)),)
    assert header.outputs == (Declared("image", "float16", (4, 3, None, 8)),)
    assert header.companions == header.random == ()
    assert read_onnx(write(tmp_path / "h.onnx", output=value("image", None))).outputs[0].shape is None


def test_what_fits_the_settings_passes(tmp_path):
    check_generator(write(tmp_path / "g.onnx"), **SETTINGS)
    check_generator(write(tmp_path / "h.onnx", output=value("image", None)), **SETTINGS)
    check_generator(write(tmp_path / "i.onnx", output=value("image", ["n", 3, "h", "w"])), **SETTINGS)
    eight = write(tmp_path / "j.onnx", output=value("image", IMAGE, TensorProto.UINT8))
    check_generator(eight, **SETTINGS, output_range=(-1, 1))
    check_generator(eight, **SETTINGS, output_range=(0, 255))


@pytest.mark.parametrize(
    ("header", "settings", "line"),
    [
        (
            {"inputs": [value("z", Z), value("c", ["n", 0])]},
            {},
            "g.onnx needs the inputs z, c; export a wrapper whose only input is z",
        ),
        ({}, {"latent": (8,)}, "g.onnx takes latents of shape (n, 16), must be (n, 8)"),
        ({}, {"latent": (16, 1, 1)}, "g.onnx takes latents of shape (n, 16), must be (n, 16, 1, 1)"),
        ({}, {"size": (16, 8)}, "gives images of shape (n, 3, 8, 8), must be (n, 3, 16, 8)"),
        ({}, {"channels": 1}, "gives images of shape (n, 3, 8, 8), must be (n, 1, 8, 8)"),
        (
            {"output": value("image", ["n", 8, 8, 3])},
            {"layout": "nchw"},
            "gives images of shape (n, 8, 8, 3), must be (n, 3, 8, 8)",
        ),
        ({}, {"layout": "nhwc"}, "gives images of shape (n, 3, 8, 8), must be (n, 3, 8, 8)"),
        ({"output": value("image", ["n", 192])}, {}, "gives images of shape (n, 192), must be (n, 3, 8, 8)"),
        (
            {"inputs": [value("z", [4, 16])], "output": value("image", [1, 3, 8, 8])},
            {},
            "gives images of shape (1, 3, 8, 8), must be (4, 3, 8, 8)",
        ),
        ({"inputs": [value("z", Z, TensorProto.INT64)]}, {}, "takes latents of type int64"),
        ({"output": value("image", IMAGE, TensorProto.INT32)}, {}, "gives images of type int32"),
        ({"output": value("image", IMAGE, TensorProto.BFLOAT16)}, {}, "gives images of type bfloat16"),
        (
            {"output": helper.make_tensor_sequence_value_info("image", TensorProto.FLOAT, IMAGE)},
            {},
            "gives images of type no array",
        ),
        (
            {"output": value("image", IMAGE, TensorProto.UINT8)},
            {"output_range": (0, 1)},
            "g.onnx gives uint8, which means 0 to 255: output_range must be left out",
        ),
        (
            {"nodes": [helper.make_node("RandomNormalLike", ["image"], ["noise"])]},
            {},
            "g.onnx draws its own noise (RandomNormalLike)",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_the_header(header, settings, line, tmp_path):
    assert line in refused(write(tmp_path / "g.onnx", **header), **settings)


def test_noise_within_a_branch_and_a_function_is_seen(tmp_path):
    drawn = helper.make_node("RandomNormal", [], ["noise"], shape=[1])
    branch = helper.make_graph([drawn], "branch", [], [value("noise", [1])])
    inside = helper.make_node("If", ["yes"], ["noise"], then_branch=branch, else_branch=branch)
    assert "draws its own noise" in refused(write(tmp_path / "g.onnx", nodes=[inside]))
    function = helper.make_function("own", "draw", [], ["noise"], [drawn], [helper.make_opsetid("", 13)])
    assert "draws its own noise" in refused(write(tmp_path / "h.onnx", functions=[function]))


# --- weights in other files ---


def test_companions_are_files_of_the_generator(tmp_path):
    alone, beside = write(tmp_path / "g.onnx"), write(tmp_path / "h.onnx", companion="h.data")
    assert read_network(alone).files == [str(alone)]
    assert read_network(beside).files == [str(beside), str(tmp_path / "h.data")]
    check_generator(beside, **SETTINGS)


def test_a_companion_of_a_constant_in_a_branch_is_found(tmp_path):
    path = write(tmp_path / "g.onnx", companion="g.data")

    def hide(model):
        tensor = model.graph.initializer.pop()
        constant = helper.make_node("Constant", [], ["weight"], value=tensor)
        branch = helper.make_graph([constant], "branch", [], [value("weight", None)])
        node = helper.make_node("If", ["yes"], ["weight"], then_branch=branch, else_branch=branch)
        model.graph.node.insert(0, node)

    assert read_network(edit(path, hide)).files == [str(path), str(tmp_path / "g.data")]


def set_entry(key, text):
    def change(model):
        (tensor,) = model.graph.initializer
        kept = [(entry.key, entry.value) for entry in tensor.external_data if entry.key != key]
        del tensor.external_data[:]
        for name, content in [*kept, *([] if text is None else [(key, text)])]:
            tensor.external_data.add(key=name, value=content)

    return change


@pytest.mark.parametrize(
    ("key", "text", "line"),
    [
        ("location", "/etc/passwd", "g.onnx keeps weight in '/etc/passwd', must be a file in its own folder"),
        ("location", "../g.data", "g.onnx keeps weight in '../g.data', must be a file in its own folder"),
        ("location", "a/../../g.data", "must be a file in its own folder"),
        ("location", "", "must be a file in its own folder"),
        ("location", None, "must be a file in its own folder"),
        ("location", "gone.data", "gone.data is missing, must be a file of weights of g.onnx"),
        ("location", ".", "must be a file in its own folder"),
        ("location", "folder", "folder is a folder, must be a file of weights of g.onnx"),
        ("offset", "1", "g.data is cut short: it has 12288 bytes of 12289"),
        ("offset", "-1", "g.onnx keeps weight in 12288 bytes of g.data, must be 12288"),
        ("length", "12289", "g.data is cut short: it has 12288 bytes of 12289"),
        ("length", "12287", "g.onnx keeps weight in 12287 bytes of g.data, must be 12288"),
        ("length", "all", "g.onnx does not say where in g.data weight is"),
    ],
)
def test_other_places_of_weights_are_refused(key, text, line, tmp_path):
    (tmp_path / "folder").mkdir()
    path = edit(write(tmp_path / "g.onnx", companion="g.data"), set_entry(key, text))
    assert line in refused(path)


def test_a_companion_cut_short_or_gone_is_refused(tmp_path):
    path, companion = write(tmp_path / "g.onnx", companion="g.data"), tmp_path / "g.data"
    edit(path, set_entry("length", None))
    check_generator(path, **SETTINGS)
    companion.write_bytes(companion.read_bytes()[:-1])
    assert refused(path) == "g.data is cut short: it has 12287 bytes of 12288"
    shutil.move(companion, tmp_path / "elsewhere")
    assert "g.data is missing" in refused(path)
    companion.symlink_to(tmp_path.parent / "g.data")
    (tmp_path.parent / "g.data").write_bytes(bytes(12288))
    assert "g.data, a link out of the folder" in refused(path)


# --- no ONNX file at all ---


def test_no_cut_passes(tmp_path):
    whole = write(tmp_path / "g.onnx", nodes=[helper.make_node("Tanh", ["a"], ["b"])]).read_bytes()
    # The weights, whose every byte is like the other, need not be cut everywhere.
    ends = [*range(60), *range(100, len(whole) - 300, 997), *range(len(whole) - 300, len(whole))]
    for end in ends:
        (tmp_path / "cut.onnx").write_bytes(whole[:end])
        with pytest.raises(ValueError, match="is not an ONNX file"):
            read_onnx(tmp_path / "cut.onnx")


def test_garbage_is_refused_and_nothing_else_happens(tmp_path):
    path, chance = tmp_path / "g.onnx", random.Random(0)
    for content in (b"\x08\x08 nothing", b"PK\x03\x04", b"\x08\x09:\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"):
        path.write_bytes(content)
        assert "is not an ONNX file" in refused(path)
    whole = bytearray(write(path).read_bytes())
    for _ in range(300):
        damaged = whole.copy()
        for place in chance.sample([*range(100), *range(len(whole) - 100, len(whole))], 2):
            damaged[place] = chance.randrange(256)
        path.write_bytes(damaged)
        # Some damage leaves a header, if another one.
        with contextlib.suppress(ValueError):
            read_onnx(path)


def test_a_file_of_nothing_but_fields_ends_soon(tmp_path):
    (tmp_path / "g.onnx").write_bytes(b"\x08\x09" * (MOST_FIELDS + 1))
    assert f"more than {MOST_FIELDS:,} fields" in refused(tmp_path / "g.onnx")


def test_graphs_nested_without_end_are_refused(tmp_path):
    graph = helper.make_graph([], "inner", [], [])
    for _ in range(30):
        graph = helper.make_graph([helper.make_node("Loop", [], [], body=graph)], "outer", [], [])
    inside = helper.make_node("Loop", [], [], body=graph)
    assert "nested deeper than" in refused(write(tmp_path / "g.onnx", nodes=[inside]))


def test_reading_needs_neither_onnx_nor_torch(tmp_path):
    code = "from hessgeo.weights.networks import read_network; read_network(sys.argv[1])"
    assert heavy_after(code, write(tmp_path / "g.onnx")) == []
