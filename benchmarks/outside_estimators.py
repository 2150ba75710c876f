"""Our own rows of the benchmark of outside estimators, ``hessgeo/pipeline/benchmark.csv``.

    python benchmarks/outside_estimators.py                        # both protocols, all estimators
    python benchmarks/outside_estimators.py --quick                # small systems alone
    python benchmarks/outside_estimators.py statistics exponential # these alone; rows of others stay

Every estimator has the settings that it has by default, and one thread: its row is what anyone gets
who changes nothing.
"""

from __future__ import annotations

import argparse
from importlib.resources import files
from pathlib import Path

import pandas as pd
import torch

from hessgeo.estimators.names import ESTIMATORS
from hessgeo.pipeline.benchmark import PROTOCOLS, REFERENCE, BenchmarkProtocol, score_own

FILE = Path(str(files("hessgeo.pipeline") / REFERENCE))
BOUNDS = ("zero skill", "oracle")


def rows_of(name: str, protocol: BenchmarkProtocol) -> pd.DataFrame:
    """The rows of one estimator, without those of the bounds."""
    outcome = score_own(name, protocol)
    for line in outcome.refused:
        print(line)
    rows = outcome.rows[~outcome.rows["kind"].isin(BOUNDS)]
    return rows.assign(protocol=protocol.name, estimator=name)


def main(names: list[str], quick_alone: bool) -> None:
    torch.set_num_threads(1)
    for protocol in [PROTOCOLS[True]] if quick_alone else [PROTOCOLS[True], PROTOCOLS[False]]:
        for name in names:
            new = rows_of(name, protocol)
            old = pd.read_csv(FILE, dtype={"protocol": str}) if FILE.exists() else new.iloc[:0]
            old = old[(old["protocol"] != protocol.name) | (old["estimator"] != name)]
            table = pd.concat([old, new], ignore_index=True) if len(old) else new
            order = {one: place for place, one in enumerate(ESTIMATORS)}
            table = table.sort_values(
                ["protocol", "system", "quantity", "estimator"],
                key=lambda column: column.map(order) if column.name == "estimator" else column,
                kind="stable",
            )
            # Six digits: the rest differs between processors.
            table.to_csv(FILE, index=False, float_format="%.6g")
            print(
                new[["protocol", "system", "quantity", "method", "share", "seconds"]].to_string(index=False)
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ESTIMATORS))
    parser.add_argument("--quick", action="store_true", help="small systems alone")
    given = parser.parse_args()
    if unknown := set(given.names) - set(ESTIMATORS):
        parser.error(f"{', '.join(sorted(unknown))}: allowed are {', '.join(ESTIMATORS)}")
    main(given.names or list(ESTIMATORS), given.quick)
