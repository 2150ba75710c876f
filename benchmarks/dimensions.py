"""Dimensions of known fractals and of smooth curves on 1,024 x 1,024 masks, beside a library's box counting.

    pip install -c constraints.txt -e '.[peers]'
    python benchmarks/dimensions.py              # the peer is left out, and said, if it is not installed
    python benchmarks/dimensions.py --nodes 256

Times are of the processor: of the verdict, all three estimators and the smooth curves beside them. Every number goes
into ``benchmarks/results.csv``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time

import numpy as np
from fractals import BASILICA, KOCH, RABBIT, below_weierstrass, julia, ruelle, smooth, snowflake
from record import Row, record

from hessgeo.phases import judge_fractality


def masks(nodes):
    """Masks by name, with the dimension of their boundary."""
    fractals = {
        "Koch snowflake": (lambda: snowflake(nodes), KOCH),
        "Koch snowflake, turned and shifted": (
            lambda: snowflake(nodes, angle=0.9, shift=(17.3, -29.1)),
            KOCH,
        ),
        "Julia set of z^2 + .3 i": (lambda: julia(nodes, 0.3j), ruelle(0.3j)),
        "Julia set of z^2 - 1": (lambda: julia(nodes, -1), BASILICA),
        "Julia set of z^2 - .1226 + .7449 i": (lambda: julia(nodes, -0.122561 + 0.744862j), RABBIT),
        "Weierstrass graph, H = .5": (lambda: below_weierstrass(nodes, 0.5, period=0.25), 1.5),
        "Weierstrass graph, H = .3": (lambda: below_weierstrass(nodes, 0.3, period=0.25), 1.7),
    }
    curves = {
        f"{name}, turned by {angle}": (lambda name=name, angle=angle: smooth(name, nodes, angle=angle), 1.0)
        for name in ("circle", "line", "sine", "parabola")
        for angle in (0.0, 0.6)
    }
    return {"fractals": fractals, "smooth curves": curves}


def library_dimension(labels):
    """Slope of the counts of ``boxcounting`` over all its scales, and over those from 4 to 128 nodes."""
    from boxcounting import boxCount

    mixed = labels[1:, 1:] != labels[:-1, :-1]
    mixed |= (labels[1:, :-1] != labels[:-1, :-1]) | (labels[:-1, 1:] != labels[:-1, :-1])
    counts, sides, _ = boxCount(mixed).calculateBoxCount()
    counts, sides = np.asarray(counts, dtype=float), np.asarray(sides, dtype=float)
    some = (sides >= 4) & (sides <= 128)
    return -np.polyfit(np.log(sides[some]), np.log(counts[some]), 1)[0]


def compare(kind, kinds, nodes):
    """Errors of all estimators on the masks of a kind."""
    peer = importlib.util.find_spec("boxcounting") is not None
    if not peer:
        print("# boxcounting is not installed, and left out")
    errors, library, seconds, verdicts = [], [], [], []
    for name, (mask, truth) in kinds.items():
        labels = mask()
        start = time.process_time()
        found = judge_fractality(labels)
        seconds.append(time.process_time() - start)
        values = {"box": found.box, "correlation": found.correlation, "uncertainty": found.uncertainty}
        errors.append({key: one.value / truth - 1 for key, one in values.items()})
        library.append(library_dimension(labels) / truth - 1 if peer else np.nan)
        verdicts.append(found.verdict == ("fractal" if truth > 1 else "smooth"))
        covered = [key for key, one in values.items() if one.low <= truth <= one.high]
        print(
            f"{name}: {truth:.4f}; {found.verdict}; {found.reason}; intervals that hold it: {covered}",
            flush=True,
        )
        print(f"    errors {errors[-1]}, of the library {library[-1]:.4f}; {seconds[-1]:.1f} s", flush=True)
    name = f"dimension of {len(kinds)} {kind}, {nodes} x {nodes}"

    def beside(value):
        return {"peer": "boxcounting", "peer_value": value, "packages": ("boxcounting",)} if peer else {}

    rows = [
        Row(
            f"dimension of {mask}, {nodes} x {nodes}: relative error, box",
            abs(one["box"]),
            **beside(abs(float(other))),
        )
        for mask, one, other in zip(kinds, errors, library, strict=True)
        if kind == "fractals"
    ]
    worst = float(np.abs(library).max())
    for key in errors[0]:
        rows.append(
            Row(
                f"{name}: largest relative error, {key}",
                max(abs(one[key]) for one in errors),
                **beside(worst),
            )
        )
    return [
        *rows,
        Row(f"{name}: right verdicts", float(sum(verdicts))),
        Row(f"{name}: longest time", max(seconds), "s"),
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=1024, help="a side")
    parser.add_argument("--no-record", dest="record", action="store_false", help="leave results.csv as it is")
    args = parser.parse_args()
    for kind, kinds in masks(args.nodes).items():
        rows = compare(kind, kinds, args.nodes)
        for row in rows:
            print(
                f"{row.name}: {row.value:.3g} {row.unit}{f', {row.peer} {row.peer_value:.3g}' if row.peer else ''}"
            )
        if args.record:
            record(rows)


if __name__ == "__main__":
    main()
