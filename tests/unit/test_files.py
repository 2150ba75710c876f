"""Files that others named: whatever is no regular file ends in one line, and nothing is waited for."""

import json
import os
import socket

import numpy as np
import pytest

from hessgeo.weights.files import (
    LARGEST_NPY_HEADER,
    check_file,
    npy_header,
    parse_json,
    read_bytes,
    read_json_object,
)
from hessgeo.weights.headers import read_header


def make(kind, folder):
    """A path of this kind."""
    path = folder / "x.bin"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        # Its path is bound relative to its folder: absolute ones may be longer than a socket's may be.
        here = os.getcwd()
        os.chdir(folder)
        socket.socket(socket.AF_UNIX).bind("x.bin")
        os.chdir(here)
    elif kind == "link":
        path.symlink_to("nothing")
    elif kind == "circle":
        path.symlink_to("x.bin")
    elif kind == "device":
        return "/dev/zero"
    elif kind == "long":
        return str(folder / ("x" * 300))
    elif kind == "null":
        return "a\0b"
    return str(path)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", "is missing"),
        ("folder", "is a folder"),
        ("pipe", "is a pipe"),
        ("socket", "is a socket"),
        ("device", "is a device"),
        ("link", "is a link to nothing"),
        ("circle", "cannot be read (Too many levels of symbolic links)"),
        ("long", "cannot be read (File name too long)"),
        ("null", "holds a null character"),
    ],
)
def test_what_is_no_regular_file_is_refused_in_one_line(tmp_path, kind, words):
    path = make(kind, tmp_path)
    for read in (check_file, read_json_object, npy_header):
        with pytest.raises(ValueError, match="must be a file of mine") as caught:
            read(path, "a file of mine")
        shown = repr(path) if kind == "null" else path
        assert str(caught.value) == f"{shown} {words}, must be a file of mine"


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs a file that cannot be read")
def test_a_file_that_fails_while_it_is_read_is_one_line():
    for read in (read_json_object, read_header):
        with pytest.raises(
            ValueError, match=r"^/proc/self/mem cannot be read \(Input/output error\), must be a"
        ):
            read("/proc/self/mem")


def test_a_link_to_a_file_is_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("x")
    assert check_file(tmp_path / "link") == tmp_path / "link"
    assert read_bytes(tmp_path / "link", largest=4) == b"1234"
    with pytest.raises(ValueError, match=r"x has more than 3 bytes"):
        read_bytes(tmp_path / "x", largest=3)


@pytest.mark.parametrize(
    "text", [b"{", b"\xff\xfe{}", b'{"a":' + b"[" * 100_000, b"9" * 5_000, b"[1]", b"null", b""]
)
def test_json_that_is_no_object_is_refused_in_one_line(tmp_path, text):
    (tmp_path / "x.json").write_bytes(text)
    with pytest.raises(ValueError, match=r"^it |^\S+ ") as caught:
        parse_json(text)
    with pytest.raises(ValueError, match=r"x\.json is not valid JSON: ") as named:
        read_json_object(tmp_path / "x.json")
    assert "\n" not in f"{caught.value}{named.value}"
    assert len(str(caught.value)) < 220


def test_an_object_is_read(tmp_path):
    (tmp_path / "x.json").write_text(json.dumps({"a": [1, {"b": None}]}))
    assert read_json_object(tmp_path / "x.json") == {"a": [1, {"b": None}]}


def test_the_header_of_an_array_is_read(tmp_path):
    for shape in ((3, 1, 8, 8), (), (0, 4)):
        np.save(tmp_path / "x.npy", np.zeros(shape, dtype=np.float16))
        assert npy_header(tmp_path / "x.npy") == (shape, np.dtype(np.float16))


def header(shape, kind="<f4", start=b"\x93NUMPY\x01\x00"):
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return start + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no header"),
        (b"PK\3\4 an archive", "has no header"),
        (header("(2, 2)")[:-9], "has no header"),
        (header("(2, 2)", start=b"\x93NUMPY\x09\x00"), "has no header"),
        (header("(" * 5_000 + ")" * 5_000), "has no header"),
        (header("(2, 2)" + " " * (LARGEST_NPY_HEADER - 100)), "has no header|is cut short"),
        (header("(2, 2)", kind="nonsense"), "has no header"),
        (header("(2, 2)", kind="|O"), "holds Python objects"),
        (header("(2, 2)") + bytes(15), "is cut short"),
        (header(f"({10**15}, {10**15})") + bytes(64), "is cut short"),
        (header("(-1, 4)") + bytes(64), "is cut short|has no header"),
    ],
)
def test_an_array_that_is_none_is_refused_by_its_header(tmp_path, content, words):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(ValueError, match=words) as caught:
        npy_header(tmp_path / "x.npy", "an array of mine")
    assert str(caught.value).endswith("must be an array of mine")
    assert "\n" not in str(caught.value)
