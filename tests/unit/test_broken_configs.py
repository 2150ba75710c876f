"""Whatever a configuration holds, it is refused in a line for each fault, or accepted, at once and without torch."""

import os
import struct
import subprocess
import sys
import time
import zlib
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.numpy import save_file

from hessgeo.pipeline import config_files
from hessgeo.pipeline.config_files import SettingsError, merge_config
from hessgeo.pipeline.settings import merged, read_configuration

CORPUS = Path(__file__).parent.parent / "data" / "broken_configs.yaml"
ENTRIES = yaml.load(CORPUS.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
SECONDS = 2.0  # of processor time: other processes of the machine may be in the way


def write_array(path, *, shape, dtype="float64", fill=None, cut=0):
    values = np.random.default_rng(0).standard_normal(shape)
    values = np.full(shape, float(fill)) if fill is not None else values
    np.save(path, values.astype(dtype), allow_pickle=dtype == "object")
    path.write_bytes(path.read_bytes()[: path.stat().st_size - cut])


def write_header(path, shape):
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {tuple(shape)}, }}\n".encode()
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text)


def write_nested(path, depth):
    header = b'{"a":' * depth + b"0" + b"}" * depth
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def write_bomb(path, size):
    """A PNG of many black pixels in few bytes."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", *size, 1, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9_999)))
    )


MAKERS = {
    "fifo": lambda path, _: os.mkfifo(path),
    "folder": lambda path, _: path.mkdir(),
    "link": lambda path, target: path.symlink_to(target),
    "text": lambda path, text: path.write_text(text, encoding="utf-8"),
    "hex": lambda path, text: path.write_bytes(bytes.fromhex(text)),
    "npy": lambda path, about: write_array(path, **about),
    "npy_header": write_header,
    "safetensors": lambda path, shapes: save_file(
        {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, path
    ),
    "nested": write_nested,
    "image": lambda path, about: Image.new(about.get("mode", "L"), about["size"]).save(path),
    "bomb": write_bomb,
}


@pytest.fixture(scope="module")
def base(repository):
    """The files that every entry is merged over, and what Snakemake makes of them."""
    files = [repository / "config.yaml", repository / "workflow" / "studies" / "tiny.yaml"]
    known, read = {file: config_files.read_config_file(file) for file in files}, config_files.read_config_file
    with pytest.MonkeyPatch.context() as patch:
        # Read once for all entries, and merged anew.
        patch.setattr(
            config_files,
            "read_config_file",
            lambda file: deepcopy(known[file]) if file in known else read(file),
        )
        yield files, merge_config(files, {})


def test_there_are_enough_of_them():
    assert len(ENTRIES) >= 250
    assert len({(entry.get("text"), entry.get("hex"), str(entry.get("files"))) for entry in ENTRIES}) == len(
        ENTRIES
    )


@pytest.mark.parametrize("number", range(len(ENTRIES)))
def test_a_broken_configuration_is_refused_in_lines_and_an_odd_one_accepted(
    number, base, tmp_path, tmp_path_factory, monkeypatch
):
    from snakemake.common.configfile import load_configfile

    entry, (files, common) = ENTRIES[number], base
    monkeypatch.chdir(tmp_path)
    for name, maker in entry.get("files", {}).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        ((kind, about),) = maker.items()
        MAKERS[kind](path, about)
    change = tmp_path_factory.mktemp("change") / "change.yaml"
    change.write_bytes(bytes.fromhex(entry["hex"]) if "hex" in entry else entry["text"].encode())
    before, start = sorted(tmp_path.rglob("*")), time.process_time()
    if "accepted" in entry:
        config = merged(common, load_configfile(change))
        assert read_configuration(config, files=[*files, change], entries={}).studies
    else:
        with pytest.raises(SettingsError) as caught:
            read_configuration({}, files=[*files, change], entries={})
        lines = str(caught.value).split("\n")
        assert any(entry["refused"] in line for line in lines), lines
        for line in lines:
            assert line.startswith("hessgeo: ")
            assert line.isprintable()
            assert "allowed" in line or "must be" in line or "unknown key" in line, line
            assert len(line) < 2_200
    assert time.process_time() - start < SECONDS
    assert sorted(tmp_path.rglob("*")) == before, "something was created"


def test_settings_are_read_without_torch(repository, tmp_path):
    # In another process, as this one may have torch.
    code = """
import sys
from pathlib import Path
from hessgeo.pipeline import config_files
from hessgeo.pipeline.config_files import SettingsError, merge_config
from hessgeo.pipeline.settings import read_settings

config, *studies = map(Path, sys.argv[1:])
for study in [[], *([study] for study in studies)]:
    try:
        read_settings(merge_config([config, *study], {}))
    except SettingsError as error:
        assert "null is not allowed" in str(error) or " is missing" in str(error), error
print([name for name in ("torch", "diffusers", "timm", "open_clip", "xarray") if name in sys.modules])
"""
    files = [
        repository / "config.yaml",
        *sorted((repository / "workflow" / "studies").glob("*.yaml")),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, files)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["[]"]
