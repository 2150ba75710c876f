"""Several vector figures, one below another, as one."""

from __future__ import annotations

import re
from collections.abc import Sequence

GAP = 8.0  # points between figures
_SIDE = {name: re.compile(rf'\b{name}="([\d.]+)pt"') for name in ("width", "height")}
_NAMES = re.compile(r'(\bid="|url\(#|href="#)')


def stack_figures(figures: Sequence[str]) -> str:
    """One SVG with some in it, one below another; a single one as it is.

    Names in each get a prefix: matplotlib gives the same to like shapes, and within one file names are unique.

    Args:
        figures: the texts of SVG files whose sizes are in points.

    Raises:
        ValueError: if there is none, or one does not say its size.
    """
    if not figures:
        raise ValueError("there is no figure to stack")
    if len(figures) == 1:
        return figures[0]
    parts, sizes = [], [_size(text) for text in figures]
    top = 0.0
    for k, (text, (_, height)) in enumerate(zip(figures, sizes, strict=True)):
        own = text[text.index("<svg") :]
        own = _NAMES.sub(lambda found, k=k: f"{found[1]}f{k}-", own)
        # Within the outer figure, whose unit is the point, a side in pt would be 4/3 of it.
        for side in _SIDE.values():
            own = side.sub(lambda found: found[0].replace("pt", ""), own, count=1)
        parts.append(own.replace("<svg", f'<svg x="0" y="{top:g}"', 1))
        top += height + GAP
    width, total = max(width for width, _ in sizes), top - GAP
    head = (
        '<?xml version="1.0" encoding="utf-8" standalone="no"?>\n'
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" version="1.1" '
        f'width="{width:g}pt" height="{total:g}pt" viewBox="0 0 {width:g} {total:g}">\n'
    )
    return f"{head}{''.join(parts)}\n</svg>\n"


def _size(text: str) -> tuple[float, float]:
    """Width and height of an SVG, points."""
    head = re.search(r"<svg\b[^>]*>", text)
    sides = [pattern.search(head[0]) for pattern in _SIDE.values()] if head else [None]
    if any(side is None for side in sides):
        raise ValueError("the figure is no SVG that states its size in points")
    width, height = (float(side[1]) for side in sides if side)
    return width, height
