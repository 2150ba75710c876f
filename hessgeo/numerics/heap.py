"""A heap of nodes by their keys, in two arrays, for compiled code: what comes first is taken first.

An entry stays where it is when its node gets a lower key: whoever takes it finds that it is old.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True)
def push(
    keys: np.ndarray, nodes: np.ndarray, size: int, key: float, node: int
) -> tuple[np.ndarray, np.ndarray]:
    """The heap with one entry more, in the same arrays or in longer ones."""
    if size == len(keys):
        more_keys, more_nodes = np.empty(2 * size), np.empty(2 * size, np.int32)
        more_keys[:size], more_nodes[:size] = keys, nodes
        keys, nodes = more_keys, more_nodes
    k = size
    while k > 0:
        above = (k - 1) >> 2
        if keys[above] <= key:
            break
        keys[k], nodes[k] = keys[above], nodes[above]
        k = above
    keys[k], nodes[k] = key, node
    return keys, nodes


@njit(cache=True)
def pop(keys: np.ndarray, nodes: np.ndarray, size: int) -> tuple[float, int]:
    """The least entry, of a heap in which each has four below it."""
    key, node = keys[0], nodes[0]
    size -= 1
    last_key, last_node = keys[size], nodes[size]
    k = 0
    while True:
        child = 4 * k + 1
        if child >= size:
            break
        least = child
        for other in range(child + 1, min(child + 4, size)):
            if keys[other] < keys[least]:
                least = other
        if keys[least] >= last_key:
            break
        keys[k], nodes[k] = keys[least], nodes[least]
        k = least
    keys[k], nodes[k] = last_key, last_node
    return key, node
