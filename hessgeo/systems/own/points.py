"""Parameter points of one's own: read from a table, recognised as a grid where they are one, paired with images."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, UInt8

from hessgeo.grids import Extent, Grid
from hessgeo.systems.own.images import ImageArray, ImageFiles
from hessgeo.weights.files import read_bytes

LARGEST = 1 << 30  # bytes of a table
LEAST_POINTS, LEAST_NODES = 64, 8  # of a study, and of a grid along each parameter
NAME_COLUMNS = ("file", "image")
NUMBER = re.compile(r"\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*")
ALLOWED = "a .csv file with a column a, a column b and, for images in files, a column file that names each"
DEVIATION = 1e-6  # of a point from its node, share of the step
ROUNDED = 6e-7  # of a number, what text of seven digits and single precision keep
MOST_ROUNDED = 1e-2  # of a step, which such a rounding may take
APART = 1e-5  # share of the box, by which neighbouring nodes differ and points on one node do not


@dataclass(frozen=True)
class OwnPoints:
    """A table of parameter points.

    Attributes:
        path: of the table.
        t: the points, in the order of its lines.
        names: the image of each, by its file's name; None if the table has no such column.
        lines: the line on which each stands.
    """

    path: str
    t: Float[np.ndarray, "n 2"]
    names: tuple[str, ...] | None
    lines: tuple[int, ...]


@dataclass(frozen=True)
class OwnSamples:
    """Samples of one's own, in the order in which a store holds them.

    Attributes:
        images: where the images are.
        t: parameter point of each sample.
        rows: which of the images each sample is.
        extent: the box of the points.
        grid: the grid whose nodes the points are, in its order; None if they are scattered.
        lines: of the table, the order in which features of one's own stand, too: the line of each sample from 0.
    """

    images: ImageFiles | ImageArray
    t: Float[np.ndarray, "n 2"]
    rows: Int[np.ndarray, "n"]
    extent: Extent
    grid: Grid | None
    lines: Int[np.ndarray, "n"]

    def read(self, samples: slice) -> UInt8[np.ndarray, "row h w c"]:
        """The images of some samples, see ``ImageFiles.read``."""
        return self.images.read(self.rows[samples])


def read_points(path: str) -> OwnPoints:
    """The parameter points in a table.

    Raises:
        ValueError: one line that names the file and the line: no table, a column that is missing, a number that is
            none, two equal points, too few of them.
    """
    if Path(path).suffix.lower() != ".csv":
        raise ValueError(f"{path} must be a .csv file")
    try:
        text = read_bytes(path, "a .csv file", largest=LARGEST).decode("utf-8-sig")
        table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        columns = [name.strip() for name in table.fieldnames or []]
        table.fieldnames = columns
        name = _name_column(path, columns)
        points, names, lines = [], [], []
        for row in table:
            lines.append(table.line_num)
            if None in row:
                raise ValueError(
                    f"{path}, line {table.line_num} has {len(columns) + len(row[None])} fields, must have "
                    f"{len(columns)}, as there are columns"
                )
            points.append([_number(path, table.line_num, key, row[key]) for key in ("a", "b")])
            if name is not None:
                names.append((row[name] or "").strip())
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8") from error
    except csv.Error as error:
        raise ValueError(f"{path}, line {table.line_num}: {error}, must be a table with commas") from error
    if len(points) < LEAST_POINTS:
        raise ValueError(f"{path} has {len(points)} points, must have {LEAST_POINTS} at least")
    found = OwnPoints(path, np.array(points, dtype=np.float64), tuple(names) if name else None, tuple(lines))
    _refuse_equal(found)
    return found


def _name_column(path: str, columns: list[str]) -> str | None:
    for key in ("a", "b"):
        if columns.count(key) != 1:
            heads = ", ".join(columns)[:200]
            raise ValueError(
                f"{path} has the columns {heads}, must have one a, one b, and file for images in files"
            )
    names = [key for key in columns if key in NAME_COLUMNS]
    if len(names) > 1:
        raise ValueError(f"{path} has the columns {' and '.join(names)}, must have one of them")
    return names[0] if names else None


def _number(path: str, line: int, key: str, text: str | None) -> float:
    # Python reads 1_0 and digits of other scripts, too.
    value = float(text) if text and NUMBER.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise ValueError(f"{path}, line {line}: {key} is {(text or '')[:40]!r}, must be a finite number")
    return value


def _refuse_equal(points: OwnPoints) -> None:
    if twins := equal_points(points.t):
        first, second = sorted(points.lines[row] for row in twins)
        a, b = points.t[twins[0]]
        raise ValueError(
            f"{points.path}, lines {first} and {second}: both are at ({a:g}, {b:g}), must differ"
        )


def equal_points(t: Float[np.ndarray, "n 2"]) -> tuple[int, int] | None:
    """Rows of two points that are one, None if all differ."""
    order = np.lexsort((t[:, 1], t[:, 0]))
    same = (np.diff(t[order], axis=0) == 0).all(axis=1)
    if not same.any():
        return None
    k = int(np.argmax(same))
    return int(order[k]), int(order[k + 1])


def grid_order(
    t: Float[np.ndarray, "n 2"], extent: Extent | None = None
) -> tuple[Grid, Int[np.ndarray, "n"]] | None:
    """The grid whose nodes some points are, up to rounding, and the point on each node; None if they are no grid.

    Args:
        t: the points, in any order.
        extent: the box that the grid is to fill; None for that of the points.
    """
    box = extent or _box(t)
    low, high = np.array(box).T
    share = (t - low) / (high - low)
    counts = [1 + int(np.count_nonzero(np.diff(np.sort(axis)) > APART)) for axis in share.T]
    if min(counts) < LEAST_NODES or counts[0] * counts[1] != len(t):
        return None
    grid, place = Grid(box, (counts[0], counts[1])), share * (np.array(counts) - 1)
    node = np.rint(place).astype(int)
    rounded = np.minimum(ROUNDED * np.abs(box).max(axis=1) / np.array(grid.spacing), MOST_ROUNDED)
    if (np.abs(place - node) > DEVIATION + rounded).any():
        return None
    order = np.argsort(node[:, 0] * counts[1] + node[:, 1], kind="stable")
    same = np.array_equal(node[order, 0] * counts[1] + node[order, 1], np.arange(len(t)))
    return (grid, order) if same else None


def _box(t: Float[np.ndarray, "n 2"]) -> Extent:
    (a0, b0), (a1, b1) = t.min(axis=0).tolist(), t.max(axis=0).tolist()
    return (a0, a1), (b0, b1)


def pair(images: ImageFiles | ImageArray, points: OwnPoints, extent: Extent | None = None) -> OwnSamples:
    """Samples: each image with its point, in the order of a grid's nodes if the points are one.

    Args:
        images: as ``describe_images`` has them.
        points: as ``read_points`` has them.
        extent: the box of the study; None for that of the points.

    Raises:
        ValueError: one line: other numbers of images and points, an image that is named twice or not there, names
            that leave their order open, a point outside the box, points on a line.
    """
    if len(points.t) != images.count:
        raise ValueError(
            f"{points.path} has {len(points.t)} points, must have one for each of the {images.count} images"
        )
    rows = _named_rows(images, points) if points.names is not None else _rows_in_order(images, points)
    for axis, key in enumerate(("a", "b")):
        if np.ptp(points.t[:, axis]) == 0:
            raise ValueError(f"{points.path}: {key} is {points.t[0, axis]:g} on every line, must vary")
    if extent is not None:
        low, high = np.array(extent).T
        outside = ((points.t < low) | (points.t > high)).any(axis=1)
        if outside.any():
            k = int(np.argmax(outside))
            a, b = points.t[k]
            place = f"{points.path}, line {points.lines[k]}"
            raise ValueError(
                f"{place}: ({a:g}, {b:g}) is outside slice.extent, {[list(side) for side in extent]}"
            )
    grid, order = grid_order(points.t, extent) or (None, np.arange(len(points.t)))
    t = points.t if grid is None else grid.points
    return OwnSamples(images, t, rows[order], extent or _box(points.t), grid, order)


def _named_rows(images: ImageFiles | ImageArray, points: OwnPoints) -> Int[np.ndarray, "n"]:
    """The image that each line names."""
    if isinstance(images, ImageArray) or points.names is None:
        raise ValueError(f"{points.path} names files, must have a and b alone beside an array, in its order")
    known: dict[str, int] = {}
    for row, file in enumerate(images.files):
        other = known.setdefault(Path(file).name, row)
        if other != row:
            raise ValueError(f"{images.files[other]} and {file} have one name, must differ to be named")
    seen: dict[str, int] = {}
    for name, line in zip(points.names, points.lines, strict=True):
        if name not in known:
            where = Path(images.files[0]).parent
            raise ValueError(
                f"{points.path}, line {line}: {name[:80]!r} is not in {where}, must be one of its images"
            )
        if name in seen:
            raise ValueError(f"{points.path}, lines {seen[name]} and {line}: both name {name}, must differ")
        seen[name] = line
    return np.array([known[name] for name in points.names])


def _rows_in_order(images: ImageFiles | ImageArray, points: OwnPoints) -> Int[np.ndarray, "n"]:
    """The images as they stand; of files whose names have one order only."""
    if isinstance(images, ImageFiles):
        for first, second in zip(images.files, images.files[1:], strict=False):
            if _numbers(first) > _numbers(second):
                names = f"{Path(second).name} after {Path(first).name}"
                raise ValueError(
                    f"{points.path} has no column file, must have one where names are sorted {names}"
                )
    return np.arange(images.count)


def _numbers(file: str) -> list[tuple[int, int | str]]:
    """A name with its numbers as numbers, by which people sort."""
    parts = re.split(r"([0-9]+)", Path(file).name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]
