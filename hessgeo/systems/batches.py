"""How many samples are made at once."""

from __future__ import annotations

SAMPLED_AT_ONCE = 1024  # images of paths
