"""Files with anything wrong in them: one line or what they held, soon, without a crash, and in bounded memory.

Each is read in a process of its own whose memory and time are limited, see ``bounded_reader``. ``make fuzz`` draws 500
of them and more, each time others; here a sample is drawn, always the same.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import bounded_reader
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from bounded_reader import IMAGE, LATENTS
from fuzzing import drawn
from hypothesis import given
from hypothesis import strategies as st
from mutations import bomb, mutated, nested
from PIL import Image
from safetensors.numpy import save_file

from hessgeo import store
from hessgeo.store.vouchers import vouch

MEGABYTES = 150.0  # of memory that a file of kilobytes may take
SECONDS = 8.0  # of processor time
REFUSALS = ("ValueError", "StoreError", "MissingArrayError", "FileNotFoundError")
pytestmark = pytest.mark.slow
rng = np.random.default_rng(0)
NUMBERS = rng.standard_normal(LATENTS).astype(np.float32)
PIXELS = rng.integers(0, 256, (16, *IMAGE), dtype=np.uint8)
FEATURES = rng.standard_normal((64, 5)).astype(np.float32)
IMAGE_FILES = [f"image.{kind}" for kind in ("png", "jpg", "webp", "bmp", "tif")]
# Name of a file or a folder, and what reads it. Of folders one file is changed.
PLAIN = {
    "latents.npy": "latents",
    "latents.safetensors": "latents",
    "weights.safetensors": "weights",
    **dict.fromkeys(IMAGE_FILES, "image"),
    "image-header.png": "image header",
    "images.npy": "images",
    "images.zarr": "images",
    "points.csv": "points",
    "features.npy": "features",
    "features.safetensors": "features",
    "features.parquet": "features",
    "network.onnx": "network",
    "results/field.nc": "dataset",
    "results/table.csv": "table",
    "results/array.npy": "array",
    "results/numbers.json": "json",
    "run/samples/store.zarr": "samples",
}
OF_TORCH = {
    "latents.pt": "latents",
    "old.pth": "latents",
    "tensors.pt": "torch",
    "converted.pt": "converted",
    "script.pt": "network",
    "exported.pt2": "network",
    "folder": "folder",
}
# Whoever reads these compares them with a voucher or a sidecar, or the format has a checksum of all its content.
VOUCHED = ("run/", "results/", "image.png", "latents.pt", "tensors.pt")


def write_plain(folder):
    import onnx
    import zarr
    from onnx import TensorProto, helper, numpy_helper

    np.save(folder / "latents.npy", NUMBERS)
    save_file({"latents": NUMBERS}, folder / "latents.safetensors")
    save_file(
        {f"layer.{k}": NUMBERS[k] for k in range(3)},
        folder / "weights.safetensors",
        metadata={"format": "pt"},
    )
    for name in [*IMAGE_FILES, "image-header.png"]:
        Image.fromarray(PIXELS[0]).save(folder / name)
    np.save(folder / "images.npy", PIXELS)
    zarr.create_array(folder / "images.zarr", data=PIXELS, chunks=(8, *IMAGE))
    grid = [(a, b) for a in range(8) for b in range(8)]
    pd.DataFrame(grid, columns=["a", "b"]).to_csv(folder / "points.csv", index=False)
    np.save(folder / "features.npy", FEATURES)
    save_file({"features": FEATURES}, folder / "features.safetensors")
    pd.DataFrame(FEATURES, columns=[f"f{k}" for k in range(5)]).to_parquet(folder / "features.parquet")
    weight = numpy_helper.from_array(NUMBERS.reshape(8, 3), "weight")
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["z", "weight"], ["y"])],
        "network",
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [weight],
    )
    onnx.save(helper.make_model(graph), folder / "network.onnx")
    results = folder / "results"
    store.write_dataset(
        results / "field.nc", xr.Dataset({"g": (("a", "b"), FEATURES)}, attrs={"n": {"x": 1}})
    )
    store.write_table(results / "table.csv", pd.DataFrame(FEATURES))
    store.write_npy(results / "array.npy", FEATURES)
    store.write_json(results / "numbers.json", {"a": [1, 2.5], "b": {"c": "d"}})
    vouch(results / name for name in ("field.nc", "table.csv", "array.npy", "numbers.json"))
    samples = folder / "run" / "samples" / "store.zarr"
    points = rng.random((16, 2))
    store.create_samples(
        samples, points=points, arrays={"images": (IMAGE, "u1")}, shard=8, attributes={"seed": 1}
    )
    for shard in range(2):
        store.write_shard(samples, "images", shard, PIXELS[8 * shard : 8 * shard + 8], about={"model": "x"})


def write_of_torch(folder, checkpoint):
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(8, 3)

        def forward(self, z):
            return torch.tanh(self.layer(z))

    torch.manual_seed(0)
    tensor = torch.from_numpy(NUMBERS)
    torch.save(tensor, folder / "latents.pt")
    torch.save(tensor, folder / "old.pth", _use_new_zipfile_serialization=False)
    torch.save({"a": {"b": tensor}, "c": [tensor.half(), tensor.mT]}, folder / "tensors.pt")
    torch.save({"params": {"w": tensor, "b": tensor[0]}}, folder / "converted.pt")
    network = Network().eval()
    torch.jit.save(torch.jit.script(network), str(folder / "script.pt"))
    torch.export.save(torch.export.export(network, (torch.zeros(2, 8),)), folder / "exported.pt2")
    shutil.copytree(checkpoint, folder / "folder")


class Reader:
    """The process that reads, and the originals with what it read in them."""

    def __init__(self, folder, scratch, cases, *imported):
        self.folder, self.scratch, self.cases = folder, scratch, cases
        self.process = subprocess.Popen(
            [sys.executable, bounded_reader.__file__, *imported],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
        )  # fmt: skip
        self.usual = self.read(folder, "nothing")["megabytes"]
        self.known = {name: self.read(folder / name, reader) for name, reader in cases.items()}
        for name, found in self.known.items():
            assert "digest" in found, (name, found)

    def read(self, path, reader):
        self.process.stdin.write(json.dumps([reader, str(path)]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def place(self, name):
        """A copy of a file with all that belongs to it, or of a folder, and the files in it that can be changed."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        whole = Path(name).parts[0]
        if (self.folder / whole).is_dir():
            shutil.copytree(self.folder / whole, self.scratch / whole)
        else:
            self.scratch.mkdir()
            shutil.copy(self.folder / whole, self.scratch / whole)
        path = self.scratch / name
        several = path.is_dir() or name.startswith(VOUCHED[:2])
        base = self.scratch / whole if several else path
        files = sorted(file for file in base.rglob("*") if file.is_file() and file.stat().st_size < 100_000)
        if name.startswith("results/"):
            files = [file for file in files if path.name in file.name]
        return path, files if several else [path]

    def judge(self, name, path):
        """Read what is in the place of a file, and see that it is refused in a line, or read, within the bounds."""
        found = self.read(path, self.cases[name])
        assert "ended" not in found, found
        assert found["megabytes"] < self.usual + MEGABYTES, found
        assert found["seconds"] < SECONDS, found
        if "refused" in found:
            line = found["refused"]
            assert found["kind"] in REFUSALS, found
            assert line.strip(), found
            assert "\n" not in line, found
            assert len(line) < 2_000, found
            assert Path(path).name.partition(".")[0] in line or str(self.scratch) in line, found
            assert "llocate" not in line, found
        return found


@pytest.fixture(scope="module")
def plain(tmp_path_factory, shared_folder):
    reader = Reader(
        shared_folder("plain-files", write_plain), tmp_path_factory.mktemp("plain") / "there", PLAIN
    )
    yield reader
    reader.process.stdin.close()
    assert reader.process.wait(60) == 0


@pytest.fixture(scope="module")
def of_torch(tmp_path_factory, shared_folder, small_checkpoint):
    checkpoint = small_checkpoint("small_stable_diffusion")
    folder = shared_folder("files-of-torch", lambda folder: write_of_torch(folder, checkpoint))
    reader = Reader(folder, tmp_path_factory.mktemp("torch") / "there", OF_TORCH, "torch")
    yield reader
    reader.process.stdin.close()
    assert reader.process.wait(60) == 0


def damage_and_judge(reader, data):
    name = data.draw(st.sampled_from(sorted(reader.cases)))
    path, files = reader.place(name)
    file = data.draw(st.sampled_from(files))
    content = file.read_bytes()
    changed, raw = data.draw(mutated(content, file.suffix))
    file.write_bytes(changed)
    found = reader.judge(name, path)
    if "digest" in found and (changed == content or (raw and name.startswith(VOUCHED))):
        assert found["digest"] == reader.known[name]["digest"], "it was taken for another"


@drawn(120, 500)
@given(data=st.data())
def test_a_damaged_file_is_one_line_or_what_it_was(plain, data):
    damage_and_judge(plain, data)


@drawn(60, 250)
@given(data=st.data())
def test_a_damaged_file_of_torch_is_one_line_or_what_it_was(of_torch, data):
    damage_and_judge(of_torch, data)


def loop(path):
    path.symlink_to(path.name)


def pipe(path):
    os.mkfifo(path)


OTHERS = {
    "a link to itself": loop,
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a pipe": pipe,
    "a folder": lambda path: path.mkdir(),
    "nothing in it": lambda path: path.write_bytes(b""),
    "zeros": lambda path: path.write_bytes(bytes(4_096)),
    "brackets": lambda path: path.write_bytes(nested(100_000)),
    "braces": lambda path: path.write_bytes(nested(100_000, '{"a":', "}")),
    "a bomb": lambda path: path.write_bytes(
        bomb({"archive/data.pkl": b"", "archive/version": b"3"}, "archive/data.pkl", 1_024)
    ),
}


@pytest.mark.parametrize("what", OTHERS)
def test_what_is_no_such_file_at_all_is_one_line(plain, what):
    for name in PLAIN:
        path, files = plain.place(name)
        for file in files[:4] if path.is_dir() else [path]:
            file.unlink()
            OTHERS[what](file)
            found = plain.judge(name, path)
            # Of a store not every file says something of what is read.
            same = found.get("digest") == plain.known[name]["digest"]
            assert "refused" in found or (same and path.is_dir()), (name, file, found)
            plain.place(name)
