"""Records: JSON that carries its own digest, so that no byte of it can change unseen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hessgeo.store.files import StoreError, plain, whole

SEAL = "seal"


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, allow_nan=False, default=plain) + "\n"


def _sealed(record: Mapping[str, Any]) -> str:
    return _text({**record, SEAL: hashlib.sha256(_text(record).encode()).hexdigest()})


def write_record(path: str | Path, record: Mapping[str, Any]) -> None:
    """Write a record, whole or not at all.

    Raises:
        ValueError: if a number is not finite, which JSON does not have.
    """
    with whole(path) as partial:
        partial.write_text(_sealed(record), encoding="utf-8")


def read_record(path: str | Path) -> dict[str, Any]:
    """Read what ``write_record`` wrote.

    Raises:
        OSError: if there is none that can be read.
        StoreError: if it is not what was written, to the byte.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise StoreError(f"{path} is no file")
    try:
        text = path.read_text(encoding="utf-8")
        record = json.loads(text)
        whole = isinstance(record, dict) and record.pop(SEAL, None) and _sealed(record) == text
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged: {error}") from error
    if not whole:
        raise StoreError(f"{path} is damaged")
    return record
