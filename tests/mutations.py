"""Small files of every kind that settings name or the workflow reads, and what may happen to their bytes."""

import io
import json
import re
import struct
import zipfile
import zlib

from fuzzing import JUNK
from hypothesis import strategies as st

HUGE = (0, 1, -1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)
WORDS = (
    "-1",
    "0",
    "999999999999999999999",
    "1e999",
    "NaN",
    "-0",
    "4294967296",
    "1.5",
    "",
    '"x"',
    "null",
    "[]",
    "{}",
    "[[1]]",
)

# --- parts of a file, and the file of other parts with lengths and checksums that fit ---


def _zip_parts(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        return [archive.read(name) for name in names], lambda parts: _zip(
            dict(zip(names, parts, strict=True))
        )


def _zip(members, kind=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def _safetensors_parts(content):
    end = 8 + int.from_bytes(content[:8], "little")
    return [
        content[8:end],
        content[end:],
    ], lambda parts: len(parts[0]).to_bytes(8, "little") + b"".join(parts)


def _npy_parts(content):
    end = 10 + int.from_bytes(content[8:10], "little")
    start = content[:8]
    return [
        content[10:end],
        content[end:],
    ], lambda parts: start + min(len(parts[0]), 65_535).to_bytes(2, "little") + b"".join(parts)


def _png_parts(content):
    chunks, place = [], 8
    while place < len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        chunks.append(content[place + 4 : place + 8 + length])
        place += 12 + length
    return (
        chunks,
        lambda parts: (
            content[:8]
            + b"".join(
                struct.pack(">I", max(0, len(part) - 4)) + part + struct.pack(">I", zlib.crc32(part))
                for part in parts
            )
        ),
    )


PARTS = {
    ".pt": _zip_parts,
    ".pt2": _zip_parts,
    ".safetensors": _safetensors_parts,
    ".npy": _npy_parts,
    ".png": _png_parts,
}

# --- changes of bytes ---

PLACES = st.one_of(st.floats(0, 1), st.floats(0, 0.08), st.floats(0.9, 1))


def _at(content, share):
    return min(int(share * len(content)), max(0, len(content) - 1))


def _cut(content, share):
    return content[: _at(content, share)]


def _flip(content, share, value):
    place = _at(content, share)
    return content[:place] + bytes([(content[place] if content else 0) ^ value]) + content[place + 1 :]


def _insert(content, share, more):
    place = _at(content, share)
    return content[:place] + more + content[place:]


def _delete(content, share, count):
    place = _at(content, share)
    return content[:place] + content[place + count :]


def _swap(content, share, other, count):
    first, second = sorted((_at(content, share), _at(content, other)))
    count = min(count, second - first, len(content) - second)
    one, two = content[first : first + count], content[second : second + count]
    return content[:first] + two + content[first + count : second] + one + content[second + count :]


def _repeat(content, share, count, times):
    place = _at(content, share)
    return content[:place] + content[place : place + count] * times + content[place + count :]


def _number(content, share, width, value, order):
    place = _at(content, share)
    return content[:place] + (value % 2 ** (8 * width)).to_bytes(width, order) + content[place + width :]


def _digits(content, share, word):
    """Another number, or none, in place of one that stands as text."""
    found = list(re.finditer(rb"\d+", content[:20_000]))
    if not found:
        return content
    match = found[_at(found, share)]
    return content[: match.start()] + word.encode() + content[match.end() :]


EDITS = st.one_of(
    st.tuples(st.just(_cut), PLACES),
    st.tuples(st.just(_flip), PLACES, st.integers(1, 255)),
    st.tuples(st.just(_insert), PLACES, st.binary(min_size=1, max_size=40)),
    st.tuples(st.just(_delete), PLACES, st.integers(1, 200)),
    st.tuples(st.just(_swap), PLACES, PLACES, st.integers(1, 100)),
    st.tuples(st.just(_repeat), PLACES, st.integers(1, 64), st.integers(2, 2_000)),
    st.tuples(
        st.just(_number),
        PLACES,
        st.sampled_from([1, 2, 4, 8]),
        st.sampled_from(HUGE),
        st.sampled_from(["little", "big"]),
    ),
    st.tuples(st.just(_digits), PLACES, st.sampled_from(WORDS)),
)


def _edited(content, edits):
    for change, *arguments in edits:
        content = change(content, *arguments)
    return content


def _exchanged(value, way, other):
    """JSON with something else in one place of it."""
    if not way or not isinstance(value, dict | list) or not value:
        return other
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key = keys[way[0] % len(keys)]
    changed = dict(value) if isinstance(value, dict) else list(value)
    changed[key] = _exchanged(value[key], way[1:], other)
    return changed


def _json(content):
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict | list) else None


@st.composite
def mutated(draw, content, suffix):
    """A file that was another: its bytes changed as they come, or within its parts, whose checksums fit again.

    Returns:
        Its bytes, and whether checksums that the format has are those of the file as it was.
    """
    edits = draw(st.lists(EDITS, min_size=1, max_size=3))
    if (suffix not in PARTS and _json(content) is None) or draw(st.booleans()):
        return _edited(content, edits), True
    parts, join = PARTS.get(suffix, lambda whole: ([whole], lambda parts: parts[0]))(content)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.integers(0, len(parts) - 1))
        found = _json(parts[place])
        if found is not None and draw(st.integers(0, 3)):
            way = draw(st.lists(st.integers(0, 30), min_size=1, max_size=8))
            parts[place] = json.dumps(_exchanged(found, way, draw(JUNK))).encode(errors="surrogatepass")
        else:
            parts[place] = _edited(parts[place], draw(st.lists(EDITS, min_size=1, max_size=3)))
    return join(parts), False


# --- what is small, and promises much ---


def zeros(megabytes):
    """A deflate stream of so many megabytes of zeros, made of one block again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * megabytes + b"\3\0"


def bomb(members, name, megabytes):
    """A zip archive whose member of this name is zeros without end."""
    packed, size = zeros(megabytes), megabytes << 20
    # One zero byte in its place, and then that what stands in its entry, twice, is another length.
    content = _zip({**members, name: b""}, zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(name)
    start = entry.header_offset + 30 + len(name.encode())
    head = bytearray(content[:start])
    head[entry.header_offset + 18 : entry.header_offset + 26] = struct.pack("<II", len(packed), size)
    tail = bytearray(content[start + entry.compress_size :])
    grown = len(packed) - entry.compress_size
    place = 0
    while (place := tail.find(b"PK\1\2", place)) >= 0:
        length = struct.unpack_from("<H", tail, place + 28)[0]
        if bytes(tail[place + 46 : place + 46 + length]) == name.encode():
            struct.pack_into("<II", tail, place + 20, len(packed), size)
        elif struct.unpack_from("<I", tail, place + 42)[0] > entry.header_offset:
            struct.pack_into("<I", tail, place + 42, struct.unpack_from("<I", tail, place + 42)[0] + grown)
        place += 4
    end = tail.rfind(b"PK\5\6")
    struct.pack_into("<I", tail, end + 16, struct.unpack_from("<I", tail, end + 16)[0] + grown)
    return bytes(head) + packed + bytes(tail)


def nested(depth, opening="[", closing="]"):
    """JSON that nests."""
    return (opening * depth + closing * depth).encode()
