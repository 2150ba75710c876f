"""Files of ``torch.save`` and ``torch.jit.save`` read without torch, against torch."""

import contextlib
import io
import pickle
import random
import zipfile

import numpy as np
import pytest
import torch
from imports import heavy_after

from hessgeo.weights.torch_files import MOST_NESTED, named_tensors, read_torch_file

LAYOUTS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "before torch 1.6"])
TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
]  # fmt: skip


def save(path, content, is_zip=True):
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def equal(read, tensor):
    """Whether an array has the numbers of a tensor, and its type, but for bfloat16."""
    tensor = tensor.detach()
    if tensor.dtype == torch.bfloat16:
        return read.dtype == np.float32 and np.array_equal(read, tensor.float().numpy())
    return read.dtype == tensor.numpy().dtype and np.array_equal(read, tensor.numpy())


@LAYOUTS
@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_a_bare_tensor_of_each_type(tmp_path, dtype, is_zip):
    tensor = (50 * torch.randn(3, 1, 4, 5, generator=torch.Generator().manual_seed(0))).to(dtype)
    found = read_torch_file(save(tmp_path / "x.pt", tensor, is_zip))
    assert (found.shape, f"torch.{found.dtype}") == (tensor.shape, str(dtype))
    assert equal(found.read(), tensor)


def test_types_without_a_storage_of_their_own(tmp_path):
    tensor = torch.tensor([1, 60_000], dtype=torch.uint16)
    assert equal(read_torch_file(save(tmp_path / "x.pt", tensor)).read(), tensor)


@LAYOUTS
def test_views_parameters_and_what_stands_beside_them(tmp_path, is_zip):
    base = torch.arange(24.0).reshape(2, 3, 4)
    content = {
        "view": base[1, :, 1:3],
        "turned": base.permute(2, 0, 1),
        "wide": base[:1].expand(5, 3, 4),
        "scalar": base[0, 1, 2],
        "empty": base[:0],
        "layers": [torch.nn.Parameter(base.half()), {"step": 3, "name": "x", "none": None}],
    }
    found = named_tensors(read_torch_file(save(tmp_path / "x.pt", content, is_zip)))
    assert found.keys() == {"view", "turned", "wide", "scalar", "empty", "layers.0"}
    assert all(equal(found[name].read(), content[name]) for name in found if name != "layers.0")
    assert equal(found["layers.0"].read(), content["layers"][0])


@LAYOUTS
def test_a_state_dict(tmp_path, is_zip):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    found = named_tensors(read_torch_file(save(tmp_path / "x.pt", network.state_dict(), is_zip)))
    expected = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(equal(found[name].read(), expected[name]) for name in found)


def test_an_archive_of_torchscript(tmp_path):
    network = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).half()
    torch.jit.save(torch.jit.script(network), tmp_path / "x.pt")
    found = named_tensors(read_torch_file(tmp_path / "x.pt"))
    expected = network.state_dict()
    assert found.keys() == expected.keys()
    assert all(equal(found[name].read(), expected[name]) for name in found)


# --- what is no such file ---


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def refused(path):
    with pytest.raises(ValueError, match=f"^{path} ") as raised:
        named_tensors(read_torch_file(path))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@LAYOUTS
def test_no_code_is_run(tmp_path, is_zip):
    path = save(tmp_path / "x.pt", [torch.zeros(2), Touch(tmp_path / "touched")], is_zip)
    assert "cannot be read without running code: it needs 'io.open'" in refused(path).replace("_io", "io")
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("content", [np.zeros(3), torch.nn.Linear(2, 2), {1, 2}, slice(3)], ids=str)
def test_what_is_made_by_code_is_refused(tmp_path, content):
    assert "cannot be read without running code" in refused(save(tmp_path / "x.pt", content))


def archive(path, content):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", content)
        file.writestr("x/data/0", bytes(16))
    return path


def rebuilt(shape, stride, start=0, count=4, key="0"):
    """A pickle of a tensor whose places are as given."""
    out = io.BytesIO()
    pickler = pickle._Pickler(out, protocol=2)
    out.write(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((")
    pickler.save("storage")
    out.write(b"ctorch\nFloatStorage\n")
    pickler.save(key)
    pickler.save("cpu")
    pickler.save(count)
    out.write(b"tQ")
    for value in (start, shape, stride, False, None):
        pickler.save(value)
    out.write(b"tR.")
    return out.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (5,), "stride": (1,)},
        {"shape": (4,), "stride": (1,), "start": 1},
        {"shape": (2, 2), "stride": (1, 9)},
        {"shape": (4,), "stride": (-1,), "start": 3},
        {"shape": (4,), "stride": (1,), "start": -1},
        {"shape": (4,), "stride": (1, 1)},
        {"shape": (2**40, 2**40), "stride": (0, 0)},
        {"shape": (4,), "stride": (1,), "count": 5},
        {"shape": (4,), "stride": (1,), "key": "1"},
        {"shape": (4,), "stride": (1,), "key": "../data.pkl"},
        {"shape": ("4",), "stride": (1,)},
        {"shape": (True,), "stride": (1,)},
    ],
)
def test_no_tensor_reaches_beyond_its_storage(tmp_path, options):
    good = archive(tmp_path / "good.pt", rebuilt((2, 2), (2, 1)))
    assert read_torch_file(good).read().tolist() == [[0, 0], [0, 0]]
    path = archive(tmp_path / "x.pt", rebuilt(**options))
    with pytest.raises(ValueError, match=r"damaged|goes beyond"):
        read_torch_file(path).read()


def test_a_tensor_is_not_changed_after_it_was_made(tmp_path):
    # BUILD sets attributes: a start before the storage would read other memory.
    state = pickle.dumps({"start": -100}, protocol=2)[2:-1]
    path = archive(tmp_path / "x.pt", rebuilt((4,), (1,))[:-1] + state + b"b.")
    assert "changed after it was made" in refused(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x02",
        b"\x80\x02]r\xff\xff\xff\xff.",  # a place in the memo that memory does not have
        b"\x80\x02]" + b"]" * 1000 + b"a" * 1000 + b".",
        b"\x80\x02}q\0h\0X\1\0\0\0ah\0s.",  # a mapping that holds itself
        b"\x80\x02c__torch__\nX\n)\x81q\0}X\1\0\0\0ah\0sb.",  # a module that holds itself
        b"\x80\x02cos\nsystem\nX\2\0\0\0ls\x85R.",
        b"\x80\x02ctorch\nFloatStorage\n)R.",
        b"\x80\x02cbuiltins\neval\n.",
    ],
)
def test_other_pickles_end_in_one_line(tmp_path, content):
    path = archive(tmp_path / "x.pt", content)
    with contextlib.suppress(ValueError):
        assert named_tensors(read_torch_file(path)) == {}
    with contextlib.suppress(ValueError):
        (tmp_path / "y.pt").write_bytes(content)
        read_torch_file(tmp_path / "y.pt")


def test_what_holds_itself_is_not_followed_for_ever():
    content = {}
    content["a"] = content
    with pytest.raises(ValueError, match="nested too deeply"):
        named_tensors(content)
    deep = 0
    for _ in range(MOST_NESTED + 1):
        deep = [deep, deep]
    with pytest.raises(ValueError, match="nested too deeply, or holds too much"):
        named_tensors(deep)


@LAYOUTS
def test_damage_is_one_line_or_no_harm(tmp_path, is_zip):
    path = save(tmp_path / "x.pt", {"a": torch.randn(5), "b": torch.zeros(3, dtype=torch.int16)}, is_zip)
    whole, chance = path.read_bytes(), random.Random(0)
    for end in range(0, len(whole), 13):
        path.write_bytes(whole[:end])
        refused(path)
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(damaged)
        with contextlib.suppress(ValueError):
            for tensor in named_tensors(read_torch_file(path)).values():
                tensor.read()


def test_reading_needs_no_torch(tmp_path):
    code = "from hessgeo.weights.torch_files import read_torch_file; read_torch_file(sys.argv[1]).read()"
    assert heavy_after(code, save(tmp_path / "x.pt", torch.zeros(3))) == []


@LAYOUTS
def test_a_pickle_is_read_with_a_bound(tmp_path, is_zip):
    path = save(tmp_path / "x.pt", {"x" * 5000: torch.zeros(2)}, is_zip)
    assert len(named_tensors(read_torch_file(path))) == 1
    with pytest.raises(ValueError, match=r"more than 1,000 bytes|damaged"):
        read_torch_file(path, largest=1000)
