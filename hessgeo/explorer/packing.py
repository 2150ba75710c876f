"""Arrays as text that a page holds: base64 of little-endian numbers, single precision or sixteen bits."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Num

EXACT = 20_000  # numbers; an array of more is kept in sixteen bits
MISSING = 65_535  # what stands for a number that is not finite, in sixteen bits


def pack(values: Num[np.ndarray, "*shape"], *, exact: int = EXACT) -> dict[str, Any]:
    """An array for the page: whole numbers as they are, others in single precision or, of many, in sixteen bits.

    In sixteen bits a number is off by at most ``(high - low) / 131,068``, infinities become NaN.

    Args:
        values: the array.
        exact: most numbers that are kept in single precision.

    Returns:
        ``shape``, ``type`` (``u1``, ``i4``, ``f4`` or ``u2``), ``data``; of ``u2`` also ``low`` and ``step``.
    """
    values = np.asarray(values)
    shape = list(values.shape)
    if values.dtype == np.uint8:
        return {"shape": shape, "type": "u1", "data": text(values)}
    if values.dtype.kind in "iub":
        return {"shape": shape, "type": "i4", "data": text(values.astype("<i4"))}
    if values.size <= exact:
        return {"shape": shape, "type": "f4", "data": text(values.astype("<f4"))}
    known = np.isfinite(values)
    low, high = (float(values[known].min()), float(values[known].max())) if known.any() else (0.0, 0.0)
    step = (high - low) / (MISSING - 1) or 1.0
    coded = np.where(known, np.rint((np.where(known, values, low) - low) / step), MISSING)
    return {"shape": shape, "type": "u2", "low": low, "step": step, "data": text(coded.astype("<u2"))}


def unpack(packed: Mapping[str, Any]) -> Num[np.ndarray, "*shape"]:
    """What the page reads of a packed array."""
    kind = {"u1": "u1", "i4": "<i4", "f4": "<f4", "u2": "<u2"}[packed["type"]]
    values = np.frombuffer(base64.b64decode(packed["data"]), kind).reshape(packed["shape"])
    if packed["type"] != "u2":
        return values
    return np.where(values == MISSING, np.nan, packed["low"] + packed["step"] * values.astype(float))


def text(values: np.ndarray | bytes) -> str:
    """The bytes of an array, or bytes, in base64."""
    data = values if isinstance(values, bytes) else np.ascontiguousarray(values).tobytes()
    return base64.b64encode(data).decode("ascii")


def script_json(value: Any) -> str:
    """A value as JSON that may stand in a script element: nothing in it ends the element.

    Raises:
        ValueError: if a number is not finite, which JSON does not have.
    """
    found = json.dumps(value, allow_nan=False, separators=(",", ":"), ensure_ascii=False)
    return found.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
