"""Digests of settings, which name what depends on them."""

from __future__ import annotations

import hashlib
import json
from typing import Any


def digest(value: Any, *, characters: int = 8) -> str:
    """Hexadecimal digest of settings, independent of the order of their keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:characters]
