"""Tensors that know the tensors of a file that they were made of, to tell which were read."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._pytree import tree_leaves


class TracedTensor(torch.Tensor):
    """A tensor that knows the names of the tensors of a file that it was made of, through whatever is done with it."""

    sources: frozenset[str] = frozenset()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Do as a tensor does, and hand the names on."""
        result = super().__torch_function__(func, types, args, kwargs or {})
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, cls)]
        sources = frozenset[str]().union(*(leaf.sources for leaf in inputs))
        for leaf in tree_leaves(result):
            if isinstance(leaf, cls):
                leaf.sources = leaf.sources | sources
        return result


def traced(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """The same tensor, which knows its name in a file."""
    result = tensor.as_subclass(TracedTensor)
    result.sources = frozenset([name])
    return result


def sources_of(tensor: torch.Tensor) -> frozenset[str]:
    """Names of the tensors of a file that a tensor was made of; none if it is not traced."""
    return tensor.sources if isinstance(tensor, TracedTensor) else frozenset()
