"""The table of benchmarks: rows by name, replaced when measured again, with peers, versions and machine."""

import csv

import numpy as np
import pandas as pd
from record import COLUMNS, FILE, Row, machine, record, record_table


def read(file):
    with file.open(newline="", encoding="utf-8") as lines:
        return {row["name"]: row for row in csv.DictReader(lines)}


def test_a_row_measured_again_replaces_the_one_of_its_name(tmp_path):
    file = tmp_path / "results.csv"
    record([Row("b", 2.0, "s"), Row("a", 4.0, "s", "pymbar", 10.0, ("numpy",))], file=file)
    record([Row("b", 3.0, "s")], file=file)
    rows = read(file)
    assert list(rows) == ["a", "b"]
    assert (rows["a"]["peer"], rows["a"]["peer_value"], rows["a"]["ratio"]) == ("pymbar", "10", "2.5")
    assert (rows["b"]["value"], rows["b"]["unit"], rows["b"]["ratio"]) == ("3", "s", "")
    assert f"numpy {np.__version__}" in rows["a"]["versions"]
    assert rows["a"]["machine"] == machine() != ""


def test_every_number_of_a_table_becomes_a_row(tmp_path):
    file = tmp_path / "results.csv"
    table = pd.DataFrame(
        [
            {"case": "ridge", "n": 5, "seconds": 1.5, "note": "x", "error": np.nan},
            {"case": "smooth", "n": 5, "seconds": 0.5, "note": "y", "error": 1e-3},
        ]
    )
    record_table("fit", table, labels=["case", "n"], units={"seconds": "s"}, file=file)
    rows = read(file)
    assert {name: (row["value"], row["unit"]) for name, row in rows.items()} == {
        "fit, case ridge, n 5: seconds": ("1.5", "s"),
        "fit, case smooth, n 5: seconds": ("0.5", "s"),
        "fit, case smooth, n 5: error": ("0.001", ""),
    }


def test_the_committed_table_has_its_columns_and_each_name_once():
    with FILE.open(newline="", encoding="utf-8") as lines:
        reader = csv.DictReader(lines)
        names = [row["name"] for row in reader]
        assert tuple(reader.fieldnames) == COLUMNS
    assert names == sorted(set(names))
    assert names


def test_of_several_runs_the_median_stands_and_the_spread_beside_it(tmp_path):
    file = tmp_path / "results.csv"
    # As the table was before it had a spread.
    file.write_text(",".join(COLUMNS[:-3]) + "\nold,1,s,,,,here,python 3,2026-11-01\n")
    record([Row("new", [3.0, 1.0, 10.0], "s", "peer", [6.0, 4.0])], file=file)
    record_table("fit", pd.DataFrame([{"case": "a", "seconds": [2.0, 4.0]}]), labels=["case"], file=file)
    rows = read(file)
    assert {key: rows["new"][key] for key in ("value", "low", "high", "runs", "peer_value", "ratio")} == {
        "value": "3", "low": "1", "high": "10", "runs": "3", "peer_value": "5", "ratio": "1.667",
    }  # fmt: skip
    assert [rows["fit, case a: seconds"][key] for key in ("value", "low", "high", "runs")] == [
        "3",
        "2",
        "4",
        "2",
    ]
    assert (rows["old"]["value"], rows["old"]["date"], rows["old"]["runs"]) == ("1", "2026-11-01", "")
    record([Row("new", 2.0, "s")], file=file)
    assert read(file)["new"]["runs"] == ""


def test_a_spread_holds_its_median():
    with FILE.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["runs"]:
                assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
