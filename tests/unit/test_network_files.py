"""Networks in files: archives of torch.export against torch itself, tensors inside of ONNX graphs, what is refused."""

import contextlib
import json
import pickle
import shutil
import weakref
import zipfile

import numpy as np
import onnx
import pytest
import torch
from imports import heavy_after
from onnx import TensorProto, helper, numpy_helper

from hessgeo.pipeline.plan import parameter_bytes
from hessgeo.weights.declared import Declared
from hessgeo.weights.networks import load_network, read_network

WIDTH = 5


class Network(torch.nn.Module):
    """What networks are made of, with a further input, a second output, a buffer, and dropout that is off."""

    def __init__(self):
        super().__init__()
        self.linear, self.dropout = torch.nn.Linear(WIDTH, 72), torch.nn.Dropout(0.5)
        self.up, self.norm = torch.nn.ConvTranspose2d(3, 3, 3, padding=1), torch.nn.BatchNorm2d(3)
        self.register_buffer("shift", torch.tensor(0.5))

    def forward(self, z, sigma):
        x = self.dropout(self.linear(z)).reshape(z.shape[0], 3, 4, 6)
        x = self.norm(self.up(x)) + sigma * self.shift + torch.zeros(z.shape[0], 1, 1, 1, device=z.device)
        first, second = torch.nn.functional.interpolate(x, scale_factor=2).split(6, dim=3)
        return torch.tanh(torch.cat([second, first], dim=3)), z.flip(1)


def exported(path, network=None, inputs=None, *, dynamic=True):
    torch.manual_seed(0)
    network = (network or Network()).eval()
    inputs = inputs or (torch.randn(3, WIDTH), torch.tensor(1.0))
    batch = torch.export.Dim("batch", min=1, max=64)
    shapes = tuple({0: batch} if value.ndim else None for value in inputs) if dynamic else None
    torch.export.save(torch.export.export(network, inputs, dynamic_shapes=shapes), path)
    return path


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return exported(tmp_path_factory.mktemp("exported") / "g.pt2")


def latents(n=7):
    return np.random.default_rng(0).standard_normal((n, WIDTH), dtype=np.float32)


def test_an_archive_says_what_it_takes_and_gives(archive):
    file = read_network(archive)
    assert file.kind == "exported"
    assert file.inputs == (Declared("z", "float32", (None, WIDTH)), Declared("sigma", "float32", ()))
    assert [value.shape for value in file.outputs] == [(None, 3, 8, 12), (None, WIDTH)]
    assert file.inside["linear"] == Declared("linear", "float32", (None, 72))
    assert file.files == [str(archive)]


def test_an_archive_gives_what_torch_gives(archive):
    file = read_network(archive)
    network = load_network(file, [value.name for value in file.outputs])
    reference = torch.export.load(archive).module()
    with torch.inference_mode():
        expected = [y.numpy() for y in reference(torch.from_numpy(latents()), torch.tensor(0.3))]
    found = network({"z": latents(), "sigma": np.float64(0.3)})
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True)), "the same operators"


def test_the_weights_of_an_archive_are_counted(archive):
    network = load_network(read_network(archive), ["linear"])
    whole = (*Network().parameters(), *Network().buffers())
    assert parameter_bytes(network) == sum(tensor.numel() * tensor.element_size() for tensor in whole)


def test_what_no_later_operator_takes_is_let_go(tmp_path):
    class Chain(torch.nn.Module):
        def forward(self, x):
            for _ in range(12):
                x = torch.tanh(x + 1)
            return x

    path = exported(tmp_path / "c.pt2", Chain(), (torch.randn(2, 3),))
    file, held = read_network(path), []
    network = load_network(file, [file.outputs[0].name])
    tanh = torch.ops.aten.tanh.default
    alive = weakref.WeakSet()

    def watched(x):
        y = tanh(x)
        alive.add(y)
        held.append(len(alive))
        return y

    graph = network.graph
    graph.functions = [watched if function is tanh else function for function in graph.functions]
    network({file.inputs[0].name: np.zeros((2, 3), np.float32)})
    assert len(held) == 12
    assert max(held) <= 2


def test_a_tensor_inside_of_an_archive_is_given_by_name(archive):
    (inside,) = load_network(read_network(archive), ["linear"])({"z": latents(), "sigma": 0.0})
    torch.manual_seed(0)
    linear = Network().linear
    weight, bias = linear.weight.detach().numpy(), linear.bias.detach().numpy()
    # Sums of six float32 products of a size of one.
    assert np.allclose(inside, latents() @ weight.T + bias, atol=1e-5)


def test_attention_and_normalisation_are_run_too(tmp_path):
    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    path = exported(tmp_path / "t.pt2", layer, (torch.randn(2, 4, 8),), dynamic=False)
    x = np.random.default_rng(1).standard_normal((2, 4, 8), dtype=np.float32)
    file = read_network(path)
    (found,) = load_network(file, [file.outputs[0].name])({file.inputs[0].name: x})
    with torch.inference_mode():
        expected = torch.export.load(path).module()(torch.from_numpy(x)).numpy()
    assert np.array_equal(found, expected)
    assert file.inputs[0].shape == (2, 4, 8), "of a batch that is fixed"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_it_is(tmp_path, dtype):
    layer = torch.nn.Linear(WIDTH, 4).to(dtype)
    path = exported(tmp_path / "h.pt2", layer, (torch.randn(3, WIDTH, dtype=dtype),))
    file = read_network(path)
    (found,) = load_network(file, [file.outputs[0].name])({file.inputs[0].name: latents()})
    with torch.inference_mode():
        expected = layer(torch.from_numpy(latents()).to(dtype)).float().numpy()
    assert np.array_equal(found, expected)


# --- what an archive must not do ---


class Bomb:
    """A pickle that runs code."""

    def __reduce__(self):
        return (open, ("ran", "w"))


def rewritten(source, target, change=None, members=None):
    """A copy of an archive, its graph changed and members replaced by name."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            inner, content = name.partition("/")[2], old.read(name)
            if change is not None and inner == "models/model.json":
                graph = json.loads(content)
                change(graph)
                content = json.dumps(graph).encode()
            new.writestr(name, (members or {}).get(inner, content))
    return target


def refused(path):
    with pytest.raises(ValueError, match=f"^{path} ") as raised:
        read_network(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def operator(target):
    def change(graph):
        graph["graph_module"]["graph"]["nodes"][1]["target"] = target

    return change


@pytest.mark.parametrize(
    "target",
    [
        "torch.ops.aten.from_file.default",
        "torch.ops.aten.save.default",
        "torch.ops.aten._print.default",
        "torch.ops.image.write_file.default",
        "torch.ops.higher_order.cond",
        "_operator.attrgetter",
        "os.system",
        "builtins.eval",
        "torch.load",
        "torch.ops.aten.linear.default.__class__",
        "torch.sym_sum",
    ],
)
def test_operators_that_do_not_compute_are_refused_by_name(archive, tmp_path, target):
    assert f"uses {target!r}" in refused(rewritten(archive, tmp_path / "g.pt2", operator(target)))


def test_no_pickle_is_run_and_no_expression_evaluated(archive, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def change(graph):
        graph["graph_module"]["graph"]["tensor_values"]["z"]["sizes"][0]["as_expr"]["expr_str"] = (
            "open('ran', 'w')"
        )
        graph["guards_code"] = ["open('ran', 'w')"]

    members = {"data/sample_inputs/model.pt": pickle.dumps(Bomb())}
    path = rewritten(archive, tmp_path / "g.pt2", change, members)
    file = read_network(path)
    (images, _) = load_network(file, [value.name for value in file.outputs])({"z": latents(), "sigma": 0.3})
    assert images.shape == (7, 3, 8, 12)
    assert not (tmp_path / "ran").exists()


def test_the_danger_is_real(archive, tmp_path, monkeypatch):
    # What torch itself does with the same file.
    monkeypatch.chdir(tmp_path)
    members = {"data/sample_inputs/model.pt": torch_pickle(tmp_path)}
    path = rewritten(archive, tmp_path / "g.pt2", None, members)
    with contextlib.suppress(TypeError):  # of its own warning
        torch.export.load(path)
    assert (tmp_path / "ran").exists()


def torch_pickle(folder):
    torch.save(Bomb(), folder / "bomb.pt")
    return (folder / "bomb.pt").read_bytes()


def test_weights_in_a_pickle_are_refused(archive, tmp_path):
    with zipfile.ZipFile(archive) as file:
        name = next(name for name in file.namelist() if name.endswith("weights_config.json"))
        config = json.loads(file.read(name))
    config["config"]["linear.weight"]["use_pickle"] = True
    members = {name.partition("/")[2]: json.dumps(config).encode()}
    line = refused(rewritten(archive, tmp_path / "g.pt2", None, members))
    assert "'weight_0' as a pickle, which can run code" in line


def test_a_network_that_changes_itself_or_draws_is_refused(tmp_path):
    class Counting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, z):
            self.count.add_(1)
            return z + self.count

    class Noisy(torch.nn.Module):
        def forward(self, z):
            return z + torch.randn_like(z)

    one = (torch.randn(3, WIDTH),)
    assert "changes its own weights" in refused(exported(tmp_path / "c.pt2", Counting(), one))
    assert read_network(exported(tmp_path / "n.pt2", Noisy(), one)).random == ("randn_like",)


def test_damage_of_an_archive_is_one_line(archive, tmp_path):
    content = archive.read_bytes()
    for share in (0.3, 0.9):
        (tmp_path / "cut.pt2").write_bytes(content[: int(share * len(content))])
        assert "no archive" in refused(tmp_path / "cut.pt2")
    members = {"models/model.json": b'{"schema_version": {"major": 7}}'}
    assert "version 7 of torch.export" in refused(rewritten(archive, tmp_path / "v.pt2", None, members))
    members = {"models/model.json": b'{"schema_version": {"major": 8}}'}
    assert "damaged" in refused(rewritten(archive, tmp_path / "w.pt2", None, members))
    short = rewritten(archive, tmp_path / "s.pt2", None, {"data/weights/weight_0": b"1234"})
    with pytest.raises(ValueError, match=r"s\.pt2 is damaged"):
        load_network(read_network(short), ["linear"])


def test_reading_an_archive_needs_no_torch(archive):
    code = "from hessgeo.weights.networks import read_network; assert read_network(sys.argv[1]).kind == 'exported'"
    assert heavy_after(code, archive) == []


# --- tensors inside of an ONNX graph ---


def graph(path, *, external=False):
    """``tanh(z W) + 1``, whose output is the last of three tensors."""
    weight = np.random.default_rng(2).standard_normal((WIDTH, 4)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["z", "weight"], ["linear"]),
        helper.make_node("Tanh", ["linear"], ["bounded"]),
        helper.make_node("Add", ["bounded", "one"], ["y"]),
    ]
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.float32(1), "one")]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", WIDTH])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    inner = helper.make_tensor_value_info("linear", TensorProto.FLOAT, ["n", 4])
    made = helper.make_graph(nodes, "g", [z], [y], constants, value_info=[inner])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    options = {"save_as_external_data": True, "location": "w.data", "size_threshold": 0} if external else {}
    onnx.save(model, path, **options)
    return path, weight


@pytest.mark.parametrize("external", [False, True])
def test_a_tensor_inside_of_a_graph_is_given_by_name(tmp_path, external):
    path, weight = graph(tmp_path / "g.onnx", external=external)
    file = read_network(path)
    assert file.inside == {"linear": Declared("linear", "float32", (None, 4)), "bounded": Declared("bounded")}
    y, inside = load_network(file, ["y", "linear"])({"z": latents()})
    # Sums of five float32 products.
    assert np.allclose(inside, latents() @ weight, atol=1e-5)
    assert np.allclose(y, np.tanh(latents() @ weight) + 1, atol=1e-5)


def test_names_of_outputs_are_refused_with_those_there_are(tmp_path):
    path, _ = graph(tmp_path / "g.onnx")
    with pytest.raises(ValueError, match="has no output 'x', must be one of y, linear, bounded"):
        read_network(path).output("x", "the features")
    assert read_network(path).output(None, "the features").name == "y"


def test_an_archive_by_another_name_is_known_by_what_it_holds(archive, tmp_path):
    shutil.copy(archive, tmp_path / "g.pt")
    assert read_network(tmp_path / "g.pt").kind == "exported"
