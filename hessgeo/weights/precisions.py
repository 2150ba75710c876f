"""Floating-point types of networks by their names."""

from __future__ import annotations

import torch

PRECISIONS = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def precision_of(dtype: str) -> torch.dtype:
    """The floating-point type of a network.

    Raises:
        ValueError: on a name that is not one of ``PRECISIONS``.
    """
    if dtype not in PRECISIONS:
        raise ValueError(f"dtype is {dtype!r}, must be one of {', '.join(PRECISIONS)}")
    return PRECISIONS[dtype]
