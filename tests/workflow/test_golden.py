"""What the workflow makes, frozen: names of all files, and numbers of the tiny study and of the quick tables.

A name that moves here makes users compute again what they have; a number that moves wants a line in CHANGELOG.md.
The files of ``golden/`` are written anew by ``GOLDEN=write pytest tests/workflow/test_golden.py``.
"""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import read_settings

GOLDEN = Path(__file__).parent.parent / "golden"
WRITE = os.environ.get("GOLDEN") == "write"
# Between runs on one kind of processor numbers agree to rounding, which the fits and lengths carry to about 1e-9.
RTOL, ATOL = 1e-6, 1e-9


def compare(name, found, same):
    """Hold ``found`` against the file of that name, or write it."""
    file = GOLDEN / name
    if WRITE:
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
    known = json.loads(file.read_text())
    assert set(found) == set(known)
    assert {key: (found[key], known[key]) for key in known if not same(found[key], known[key])} == {}


@pytest.mark.parametrize(
    ("study", "parts"),
    [
        ("default", ["studies", "paths", "solvable", "densities"]),
        ("tiny", ["studies", "paths"]),
        ("routes", ["studies"]),
        ("table1-quick", ["solvable"]),
        ("generative-quick", ["densities"]),
    ],
)
def test_names_of_all_results_stay(repository, study, parts):
    files = [repository / "config.yaml", repository / "workflow" / "studies" / f"{study}.yaml"]
    layout = Layout(read_settings(merge_config(files[: 1 + (study != "default")], {})), repository)
    names = {
        "studies": layout.targets,
        "paths": layout.path_targets,
        "solvable": layout.solvable.targets,
        "densities": layout.generative_targets,
    }
    compare(f"names-{study}.json", {part: sorted(names[part]) for part in parts}, lambda a, b: a == b)


def summary(file):
    """Columns of a table: of numbers how many, their mean and mean square; of the rest a digest."""
    table = pd.read_csv(file)
    found = {"rows": len(table)}
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column):
            values = column.to_numpy(float)
            finite = values[np.isfinite(values)]
            found[name] = [len(finite), *([finite.mean(), np.mean(finite**2)] if len(finite) else [])]
        else:
            found[name] = hashlib.sha256("\n".join(map(str, column)).encode()).hexdigest()[:12]
    return found


def numbers(tree, prefix=""):
    """The leaves of nested numbers by their path."""
    if isinstance(tree, dict):
        return {k: v for key, value in tree.items() for k, v in numbers(value, f"{prefix}/{key}").items()}
    if isinstance(tree, list):
        return {k: v for i, value in enumerate(tree) for k, v in numbers(value, f"{prefix}/{i}").items()}
    return {prefix: tree}


def same(a, b):
    """Whether two leaves agree, numbers within rounding."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) or isinstance(b, float):
        return bool(np.isclose(a, b, rtol=RTOL, atol=ATOL, equal_nan=True))
    return a == b


def measured(folder, weights):
    """Tables and numbers of a finished folder of results, and a digest of the weights that all of it depends on."""
    tables = sorted(path for path in folder.rglob("*.csv") if ".vouchers" not in path.parts)
    found = {str(path.relative_to(folder)): summary(path) for path in tables}
    for path in sorted(folder.rglob("numbers.json")):
        found[str(path.relative_to(folder))] = numbers(json.loads(path.read_text()))
    return {
        "weights": hashlib.sha256(b"".join(path.read_bytes() for path in sorted(weights))).hexdigest(),
        **found,
    }


def unmeasured(tree):
    """Without seconds and names of devices."""
    return {
        key: unmeasured(value) if isinstance(value, dict) else value
        for key, value in tree.items()
        if not any(word in key for word in ("seconds", "device", "memory"))
    }


def hold(name, folder, weights):
    """Compare a folder of results with its golden numbers, where the trained weights are those of the golden run."""
    found = unmeasured(measured(folder, weights))
    known = json.loads((GOLDEN / name).read_text()) if not WRITE else found
    if found["weights"] != known["weights"]:
        # Training amplifies rounding: another processor has other weights, and no number after them can agree.
        pytest.skip("this processor trains other weights than those of the golden numbers")
    compare(name, found, same)


@pytest.mark.slow
def test_numbers_of_the_tiny_study_stay(finished):
    results = finished("results")
    hold("numbers-tiny.json", results, results.rglob("*model.safetensors"))


@pytest.mark.slow
def test_numbers_of_the_quick_tables_stay(built):
    results = built("results")
    hold("numbers-table1-quick.json", results, results.rglob("networks/exponential/*.safetensors"))
