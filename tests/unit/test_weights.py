"""Files of weights: headers of safetensors, and pickles refused or converted."""

import json
import pickle

import pytest
import torch
from imports import heavy_after
from safetensors.torch import load_file, save_file

from hessgeo.weights.__main__ import main
from hessgeo.weights.pickles import convert_pickle
from hessgeo.weights.read import PICKLES, refuse_pickle, tensor_header, tensor_shapes


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_shapes_come_from_the_header(tmp_path):
    tensors = {"a": torch.zeros(2, 3), "b.weight": torch.zeros(()), "c": torch.zeros(4, dtype=torch.float16)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": (2, 3), "b.weight": (), "c": (4,)}


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\x10\0\0\0\0\0\0\0{not json at all", b"\2\0\0\0\0\0\0\0[]"]
)
def test_other_files_are_not_safetensors(tmp_path, content):
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.safetensors is not a safetensors file"):
        tensor_shapes(tmp_path / "x.safetensors")


def test_a_file_cut_short_is_refused(tmp_path):
    save_file({"a": torch.zeros(100)}, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    (tmp_path / "x.safetensors").write_bytes(whole[:-1])
    with pytest.raises(ValueError, match=rf"cut short: it has {len(whole) - 1} bytes of {len(whole)}"):
        tensor_shapes(tmp_path / "x.safetensors")


def safetensors(path, header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def entry(shape=(2,), places=(0, 8), dtype="F32", **more):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(places), **more}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b'{"a":' + 100_000 * b"[" + 100_000 * b"]" + b"}", "is nested too deeply"),
        (100_000 * b'{"a":' + b"1" + 100_000 * b"}", "is nested too deeply"),
        (b'{"a": ' + json.dumps(entry()).encode() + b', "a": ' + json.dumps(entry()).encode() + b"}", "holds a twice"),
        (b'{"a": {"dtype": "F32", "dtype": "F16", "shape": [2], "data_offsets": [0, 8]}}', "holds dtype twice"),
        (b"[1]", "is no mapping"),
        (b'{"a": NaN}', "cannot be read"),
        (b'{"a\xff": 1}', "cannot be read"),
        ({"a": entry(), "b": entry(places=(4, 12))}, "its tensor b overlaps with another"),
        ({"a": entry(), "b": entry(places=(12, 20))}, "its tensor b leaves a gap before it"),
        ({"a": entry(places=(0, 6))}, "wrong entry a, with 6 bytes where its shape .2. needs 8"),
        ({"a": entry(dtype="F16")}, "wrong entry a, with 8 bytes where its shape .2. needs 4"),
        ({"a": entry(places=(8, 0))}, "with -8 bytes"),
        ({"a": entry(shape=(-1, -2))}, "must be whole numbers from 0 on"),
        ({"a": entry(shape=(True, 2))}, "must be whole numbers from 0 on"),
        ({"a": entry(shape=(10**30, 0), places=(0, 0))} | {"b": entry(shape=(2.0,))}, "entry b, whose shape"),
        ({"a": entry(dtype="F33")}, "wrong entry a of type F33, must be one of F64, "),
        ({"a": entry(dtype=["F32"])}, "wrong entry a of type"),
        ({"a": entry(more=1)}, "must have dtype, shape and data_offsets"),
        ({"a\nb": 3}, r"wrong entry a.nb, must have"),
        ({"__metadata__": {"format": 3}}, "a __metadata__ that is no mapping of texts"),
        ({"a": entry(shape=(1,), places=(0, 4))}, "it goes on 4 bytes after its tensors"),
    ],
)  # fmt: skip
def test_a_header_that_lies_is_refused_in_one_line(tmp_path, header, message):
    file = safetensors(tmp_path / "x.safetensors", header, bytes(8))
    with pytest.raises(ValueError, match=message) as error:
        tensor_shapes(file)
    assert str(file) in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 400


def test_a_header_without_end_is_not_read(tmp_path):
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write((50_000_000).to_bytes(8, "little") + b"{")
        file.truncate(60_000_000)  # sparse
    with pytest.raises(ValueError, match="has a header of 50000000 bytes, must be at most 16000000"):
        tensor_shapes(tmp_path / "x.safetensors")


def test_a_header_says_types_places_and_metadata(tmp_path):
    tensors = {"a": torch.arange(3, dtype=torch.int64), "b": torch.zeros(5, 1, dtype=torch.float8_e4m3fn)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"format": "pt", "ss_v2": "True"})
    header = tensor_header(tmp_path / "x.safetensors")
    assert {name: found.dtype for name, found in header.tensors.items()} == {"a": "I64", "b": "F8_E4M3"}
    assert header.metadata == {"format": "pt", "ss_v2": "True"}
    place = header.tensors["a"]
    content = (tmp_path / "x.safetensors").read_bytes()[place.start : place.stop]
    assert content == tensors["a"].numpy().tobytes()


@pytest.mark.parametrize("suffix", PICKLES)
def test_a_pickle_is_refused_with_the_command_that_converts_it(tmp_path, suffix):
    file = tmp_path / f"x{suffix}"
    file.touch()
    with pytest.raises(ValueError, match=rf"can run code.*python -m hessgeo.weights {file} ") as error:
        refuse_pickle(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_under_another_name_is_refused(tmp_path, zipped):
    torch.save({"a": torch.zeros(2)}, tmp_path / "x.safetensors", _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="is a pickle"):
        tensor_shapes(tmp_path / "x.safetensors")


@pytest.mark.parametrize("length", [0x80, 0x280, 0x4B50])
def test_no_length_of_a_header_is_taken_for_a_pickle(tmp_path, length):
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'.ljust(length)
    (tmp_path / "x.safetensors").write_bytes(length.to_bytes(8, "little") + header + bytes(4))
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": (1,)}


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"x\.safetensors is missing"):
        refuse_pickle(tmp_path / "x.safetensors")


def test_safetensors_are_not_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    refuse_pickle(tmp_path / "x.safetensors")


def test_conversion_keeps_tensors_alone(tmp_path):
    base = torch.randn(4, 4)
    tensors = {"a": base, "same": base, "row": base[1], "turned": base.T, "half": base.half()}
    torch.save({"state_dict": {**tensors, "step": 3}, "epoch": 1}, tmp_path / "x.ckpt")
    convert_pickle(tmp_path / "x.ckpt", tmp_path / "x.safetensors")
    converted = load_file(tmp_path / "x.safetensors")
    assert converted.keys() == tensors.keys()
    assert all(torch.equal(converted[name], tensors[name]) for name in tensors)
    assert {path.name for path in tmp_path.iterdir()} == {"x.ckpt", "x.safetensors"}


def test_conversion_runs_no_code(tmp_path):
    torch.save({"a": torch.zeros(2), "b": Touch(tmp_path / "touched")}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="cannot be read without running code") as error:
        convert_pickle(tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "touched").exists()
    assert not (tmp_path / "x.safetensors").exists()


def test_conversion_refuses_what_it_cannot_convert(tmp_path):
    target = tmp_path / "y.safetensors"
    with pytest.raises(ValueError, match=r"x\.bin is missing"):
        convert_pickle(tmp_path / "x.bin", target)
    (tmp_path / "x.bin").write_bytes(pickle.dumps([1, 2], protocol=2))
    with pytest.raises(ValueError, match=r"holds no named tensors|cannot be read"):
        convert_pickle(tmp_path / "x.bin", target)
    (tmp_path / "x.bin").write_bytes(b"no pickle")
    with pytest.raises(ValueError, match="cannot be read"):
        convert_pickle(tmp_path / "x.bin", target)
    torch.save({"a": torch.zeros(1)}, tmp_path / "x.bin")
    with pytest.raises(ValueError, match=r"must end in \.safetensors and not exist yet"):
        convert_pickle(tmp_path / "x.bin", tmp_path / "y.bin")
    target.touch()
    with pytest.raises(ValueError, match="not exist yet"):
        convert_pickle(tmp_path / "x.bin", target)
    with pytest.raises(ValueError, match=r"cannot write .*y\.safetensors: .*No such file") as error:
        convert_pickle(tmp_path / "x.bin", tmp_path / "nowhere" / "y.safetensors")
    assert "\n" not in str(error.value)


def test_the_command_converts_or_ends_in_one_line(tmp_path, capsys):
    torch.save({"a": torch.ones(3)}, tmp_path / "x.bin")
    main([str(tmp_path / "x.bin"), str(tmp_path / "x.safetensors")])
    assert tensor_shapes(tmp_path / "x.safetensors") == {"a": (3,)}
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / "x.bin"), str(tmp_path / "x.safetensors")])
    assert end.value.code == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_settings_can_be_checked_without_torch():
    modules = (
        "hessgeo.weights.read, hessgeo.systems.diffusion.checkpoints, hessgeo.systems.diffusion.architectures"
    )
    assert heavy_after(f"import {modules}") == []


# --- which weights ---

FIRST, SECOND, THIRD = ({"a.weight": torch.full((2,), float(k))} for k in range(3))


@pytest.mark.parametrize(
    ("content", "value", "said"),
    [
        (FIRST, 0, "all of {}"),
        ({"model": FIRST}, 0, "model of {}"),
        (
            {"params": FIRST, "params_ema": SECOND},
            1,
            "params_ema of {} (not params, which --key would choose)",
        ),
        ({"params_ema": SECOND}, 1, "params_ema of {}"),
        ({"g": FIRST, "d": THIRD, "g_ema": SECOND, "step": 3}, 1, "g_ema of {} (not g, d, which"),
        ({"g_ema": SECOND, "d_ema": THIRD}, 1, "g_ema of {} (not d_ema, which"),
        (
            {"netG_state_dict": FIRST, "netD_state_dict": THIRD},
            0,
            "netG_state_dict of {} (not netD_state_dict",
        ),
        ({"epoch": 1, "model": {"state_dict": FIRST}}, 0, "model.state_dict of {}"),
        ({"state_dict": FIRST, "state_dict_ema": SECOND}, 1, "state_dict_ema of {}"),
        ({"model": FIRST, "optimizer": {"state": {0: THIRD}}}, 0, "model of {}"),
        ({"teacher": FIRST, "epoch": torch.tensor(3)}, 0, "teacher of {}"),
        ({"model": FIRST, "ema": {"decay": torch.tensor(0.999)}}, 0, "model of {}"),
        ({"net": {"ema": SECOND, "raw": FIRST}}, 1, "net.ema of {} (not net.raw"),
        ({"state_dict": {**FIRST, "b": {}}, "mean": torch.ones(1)}, 0, "state_dict of {}"),
        ({**FIRST, "b": {"state": 3}, "opt": {"c": {"d": torch.ones(2)}}}, 0, "all of {}"),
        ({"cinema": FIRST, "model": SECOND}, 1, "model of {}"),
    ],
)
def test_the_weights_of_a_wrapped_file_are_chosen_by_rule(tmp_path, content, value, said):
    source, target = tmp_path / "x.pt", tmp_path / "x.safetensors"
    torch.save(content, source)
    line = convert_pickle(source, target)
    assert line.startswith(f"{target} holds 1 tensors, {said.format(source)}")
    assert "\n" not in line
    converted = load_file(target)
    assert {name: tensor.tolist() for name, tensor in converted.items()} == {"a.weight": [value, value]}


def test_a_key_chooses_other_weights(tmp_path, capsys):
    source, target = tmp_path / "x.pt", tmp_path / "x.safetensors"
    torch.save({"student": FIRST, "teacher": {"backbone": SECOND, "head": THIRD}}, source)
    with pytest.raises(ValueError, match=r"x\.pt holds the weights student, teacher; choose with --key"):
        convert_pickle(source, target)
    with pytest.raises(
        ValueError, match=r"holds the weights teacher\.backbone, teacher\.head; choose with --key"
    ):
        convert_pickle(source, target, key="teacher")
    for wrong in ("nobody", "teacher.nobody", "student.a.weight"):
        with pytest.raises(ValueError, match=rf"holds no named tensors in {wrong}"):
            convert_pickle(source, target, key=wrong)
    main([str(source), str(target), "--key", "teacher.backbone"])
    assert load_file(target)["a.weight"].tolist() == [1, 1]
    assert capsys.readouterr().out == f"{target} holds 1 tensors, teacher.backbone of {source}\n"


def test_a_bare_tensor_has_a_name(tmp_path):
    torch.save(torch.arange(3.0), tmp_path / "x.pt")
    convert_pickle(tmp_path / "x.pt", tmp_path / "x.safetensors")
    assert load_file(tmp_path / "x.safetensors")["tensor"].tolist() == [0, 1, 2]


class Clip(torch.nn.Module):
    """As OpenAI's archives are laid out: numbers beside the weights, in half precision."""

    def __init__(self):
        super().__init__()
        self.visual = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.LayerNorm(4))
        self.proj = torch.nn.Parameter(torch.randn(4, 2).bfloat16())
        self.logit_scale = torch.nn.Parameter(torch.tensor(2.5))
        for name, number in (("input_resolution", 224), ("context_length", 77), ("vocab_size", 49408)):
            self.register_buffer(name, torch.tensor(number))

    def forward(self, x):
        torch.save(x, "written")
        return self.visual(x)


def test_an_archive_of_torchscript_is_converted_without_its_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = Clip().half()
    network.proj.data = network.proj.data.bfloat16()
    torch.jit.save(torch.jit.script(network), "ViT-B-32.pt")
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch, "load", None)
    main(["ViT-B-32.pt", "ViT-B-32.safetensors"])
    converted, expected = load_file("ViT-B-32.safetensors"), network.state_dict()
    assert expected.keys() - converted.keys() == {"input_resolution", "context_length", "vocab_size"}
    assert all(torch.equal(converted[name], expected[name]) for name in converted)
    assert all(converted[name].dtype == expected[name].dtype for name in converted)
    assert not (tmp_path / "written").exists()


def test_an_archive_without_tensors_is_refused(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Tanh()), tmp_path / "x.pt")
    with pytest.raises(ValueError, match=r"x\.pt is a TorchScript archive without tensors"):
        convert_pickle(tmp_path / "x.pt", tmp_path / "x.safetensors")
