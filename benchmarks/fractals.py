"""Masks whose boundary has a known dimension: fractals, and smooth curves; of any size, turned and shifted.

Each is a function of the number of nodes of a side; labels are 0 and 1.
"""

from __future__ import annotations

import numpy as np

# Dimension of the boundary, and who says so.
KOCH = np.log(4) / np.log(3)  # four copies of a third of the size (Hutchinson 1981)
BASILICA = 1.26835  # z^2 - 1, McMullen (1998), Table 2: Hausdorff dimension of Julia sets
RABBIT = 1.3934  # z^2 - .1226 + .7449 i, the same table


def ruelle(c: complex) -> float:
    """Dimension of the Julia set of ``z^2 + c`` to second order in ``c`` (Ruelle 1982)."""
    return 1 + abs(c) ** 2 / (4 * np.log(2))


def snowflake(nodes: int, *, angle: float = 0.1, fill: float = 0.8, shift=(0.0, 0.0)) -> np.ndarray:
    """The filled Koch snowflake, of a diameter of ``fill`` sides, turned and shifted (in grid steps)."""
    corners = np.exp(1j * (angle - 2 * np.pi * np.arange(4) / 3)) * nodes * fill / 2
    while abs(corners[1] - corners[0]) > 0.5:
        third = np.diff(corners) / 3
        first = corners[:-1]
        tip = first + third * (1 + np.exp(1j * np.pi / 3))
        pieces = np.stack([first, first + third, tip, first + 2 * third], axis=1).ravel()
        corners = np.append(pieces, corners[-1])
    corners = corners + (nodes - 1) / 2 * (1 + 1j) + shift[0] + 1j * shift[1]
    return _filled(corners, nodes)


def _filled(corners: np.ndarray, nodes: int) -> np.ndarray:
    """Nodes inside a closed polygon whose edges are shorter than a grid step."""
    a, b = corners.real, corners.imag
    row = np.ceil(np.minimum(a[:-1], a[1:])).astype(int)
    crossing = np.ceil(a[:-1]) != np.ceil(a[1:])  # of the one row that so short an edge can meet
    share = (row - a[:-1])[crossing] / np.diff(a)[crossing]
    column = np.ceil(b[:-1][crossing] + share * np.diff(b)[crossing]).astype(int)
    toggles = np.zeros((nodes, nodes + 1), dtype=int)
    inside = (row[crossing] >= 0) & (row[crossing] < nodes)
    np.add.at(toggles, (row[crossing][inside], column[inside].clip(0, nodes)), 1)
    return toggles.cumsum(axis=1)[:, :nodes] % 2


def julia(nodes: int, c: complex, *, half: float = 1.7, shift=(0.0, 0.0), steps: int = 200) -> np.ndarray:
    """The filled Julia set of ``z^2 + c`` in a square of half-width ``half``; the shift is in grid steps."""
    side, step = np.linspace(-half, half, nodes), 2 * half / (nodes - 1)
    z = ((side - shift[0] * step)[:, None] + 1j * (side - shift[1] * step)).ravel()
    left = np.arange(nodes**2)
    for _ in range(steps):
        z = z * z + c
        near = np.abs(z) < 4
        z, left = z[near], left[near]
    stays = np.zeros(nodes**2, dtype=int)
    stays[left] = 1
    return stays.reshape(nodes, nodes)


def below_weierstrass(
    nodes: int, hurst: float, *, period: float = 0.125, seed: int = 0, ratio: float = 1.5
) -> np.ndarray:
    """What lies below ``sum_k ratio^(-k H) cos(2 pi ratio^k x / period + phase_k)``: a graph of dimension ``2 - H``.

    With random phases almost surely (Hunt 1998). The sum ends far below a grid step.
    """
    x, rng = np.arange(nodes) / nodes, np.random.default_rng(seed)
    graph, scale = np.zeros(nodes), 1.0
    while period / scale > 0.02 / nodes:
        graph += scale**-hurst * np.cos(2 * np.pi * (x / period * scale + rng.uniform()))
        scale *= ratio
    graph = 0.1 + 0.8 * (graph - graph.min()) / np.ptp(graph)
    return (np.arange(nodes) / nodes < graph[:, None]).astype(int)


def smooth(name: str, nodes: int, *, angle: float = 0.0, shift=(0.0, 0.0)) -> np.ndarray:
    """A mask bounded by a ``circle``, ``line``, ``sine`` or ``parabola``, turned and shifted (grid steps)."""
    side = (np.arange(nodes) + 0.3) / nodes - 0.5
    u, v = np.meshgrid(side - shift[0] / nodes, side - shift[1] / nodes, indexing="ij")
    x, y = np.cos(angle) * u + np.sin(angle) * v, np.cos(angle) * v - np.sin(angle) * u
    height = {
        "circle": x**2 + y**2 - 0.35**2,
        "line": y - 0.37 * x - 0.04,
        "sine": y - 0.2 * np.sin(7 * x),
        "parabola": y + 0.2 - 1.5 * x**2,
    }[name]
    return (height > 0).astype(int)
