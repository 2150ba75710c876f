"""Estimators of others: asked under a fixed protocol, refused in a line each, ranked beside ours."""

import re
import textwrap
import time

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hessgeo.command import app
from hessgeo.estimators.outside import ask, load_estimator
from hessgeo.evaluation.ranking import COLUMNS, failed, ranking
from hessgeo.pipeline import benchmark

KNOWN = """
    from hessgeo.estimators import registry
    from hessgeo.estimators.base import Run
    from hessgeo.learned.samples import Samples

    NAME, NATURAL = "mine", True

    def estimate(states, t, grid, seed, *, coordinates, geometry, statistics):
        samples = Samples(states, t, grid, coordinates, geometry, statistics)
        return registry.estimate("statistics", samples, None, {"nodes": 512, "tolerance": 1e-6}, Run(seed))
"""
NOTHING = """
    import numpy as np

    class Estimator:
        def estimate(self, states, t, grid, seed):
            widths = np.ptp(np.array(grid.extent), axis=1)
            return {"metric": np.tile(np.diag(1 / widths**2), (grid.size, 1, 1)), "value": np.zeros(grid.size)}
"""
SYSTEM = "curie-weiss-16"


@pytest.fixture
def written(tmp_path):
    """Write an estimator into a file."""

    def write(text, name="mine.py"):
        (tmp_path / name).write_text(textwrap.dedent(text))
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def samples():
    return benchmark.draw(benchmark.PROTOCOLS[True].settings(SYSTEM), 1)


def here(samples):
    """What asks an estimator in this process."""

    def asked(path, settings, seed, limit):
        start = time.perf_counter()
        return ask(load_estimator(path), samples, seed), time.perf_counter() - start

    return asked


def scored(path, samples, **options):
    chosen = benchmark.protocol(quick=True, systems=[SYSTEM])
    outcome = benchmark.score_outside(path, chosen, asked=here(samples), **options)
    return benchmark.ranked(outcome, chosen), outcome, chosen


def test_the_samples_of_a_protocol_are_those_of_its_seeds(samples):
    settings = benchmark.PROTOCOLS[True].settings(SYSTEM)
    np.testing.assert_array_equal(benchmark.draw(settings, 1).states, samples.states)
    assert (benchmark.draw(settings, 2).states != samples.states).any()
    # A number that moves here makes rows of one version no longer those of one protocol: raise the version.
    assert (len(samples.t), int(samples.states.astype(int).sum())) == (2000, 758)


def test_known_statistics_rank_first_and_their_row_is_ours(written, samples):
    (order, rows), outcome, chosen = scored(written(KNOWN), samples)
    assert outcome.refused == ()
    mine = order[order["source"] == "outside"].set_index("quantity")
    assert mine["method"].tolist() == ["mine (knows the statistics)"] * 2
    assert mine["rank"].tolist() == [1, 1]
    # Ours is the same method on the same samples, made by another route; its file has six digits.
    ours = order[order["method"] == "known statistics (knows the statistics)"].set_index("quantity")
    np.testing.assert_allclose(mine["share"], ours["share"], rtol=1e-4)
    assert (mine["share"] < 0.3).all()
    assert set(rows["protocol"]) == {chosen.name} == {"1-quick, in part"}
    text = "\n".join(benchmark.lines_of(order, chosen))
    assert "benchmark protocol 1-quick, in part" in text
    assert len([line for line in text.splitlines() if line.startswith(">    1  mine (knows")]) == 2


def test_what_has_learned_nothing_is_last_and_has_the_share_of_zero_skill(written, samples):
    (order, _), _, _ = scored(written(NOTHING), samples)
    for quantity, table in order.groupby("quantity"):
        estimates = table[table["kind"] == "estimate"]
        assert estimates["rank"].max() == len(estimates) >= 3
        assert estimates.loc[estimates["source"] == "outside", "rank"].item() == len(estimates), quantity
        shares = table.set_index("kind")["share"]
        assert shares["zero skill"] == 1
        assert shares["oracle"] == pytest.approx(1e-12)
    mine = order[order["source"] == "outside"].set_index("quantity")["share"]
    # F = 0 is zero skill; one metric everywhere is, too, once its size is that of the truth, which it is not here.
    assert mine["free energy"] == pytest.approx(1)
    assert mine["metric"] > 0.9


ANSWER = "def estimate(states, t, grid, seed):\n    {}\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("return 1 / 0", "raises ZeroDivisionError: division by zero"),
        (
            "return {'metric': __import__('numpy').ones((3, 2, 2))}",
            "metric has shape (3, 2, 2), must be (81, 2, 2)",
        ),
        ("return {'value': [float('nan')] * grid.size}", "value holds 81 numbers of 81 that are not finite"),
        ("return {'F': 1}", "returns F; allowed: value, gradient, metric, metric_error"),
        ("return None", "returns NoneType; allowed: a mapping of"),
        ("return {'gradient': t[:81]}", "returns neither a metric nor a value"),
        ("return {'value': ['a'] * 81}", "value holds no numbers"),
        (
            "return {'metric': [[[1, 2], [0, 1]]] * 81}",
            "metric is not symmetric; allowed: g_12 = g_21 at every node",
        ),
        ("states[:] = 0; t[:] = 0; return {'value': t[:81, 0]}", None),
    ],
)
def test_an_answer_that_cannot_be_scored_is_one_line(written, samples, body, words):
    estimator = load_estimator(written(ANSWER.format(body)))
    if words is None:  # it got copies
        assert (ask(estimator, samples, 1).value == 0).all()
        assert samples.states.any()
        assert samples.t.any()
        return
    with pytest.raises(ValueError, match=re.escape(words)) as raised:
        ask(estimator, samples, 1)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def estimat(states): pass", "has no function estimate(states, t, grid, seed), and no class"),
        (
            "def estimate(x): pass",
            "estimate(x) cannot be asked; allowed: states, t, grid, seed, and geometry",
        ),
        ("1 / 0", "does not run: ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "does not run: SystemExit: 3"),
        ("class Estimator:\n    def __init__(self, x): pass", "Estimator() raises TypeError"),
    ],
)
def test_a_file_without_an_estimator_is_one_line(written, text, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["benchmark", str(written(text)), "--quick"])
    assert done.exit_code == 1
    assert words in done.output
    assert done.output.startswith("hessgeo: ")
    assert done.output.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine.py"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere.py"], "nowhere.py is no estimator; allowed: a .py file with a function"),
        (["nowhere.py", "--systems", "ising"], "--systems: ising is not allowed; allowed: ising-6, isnnn-6"),
        (["nowhere.py", "--seeds", "9"], "--seeds: 9 is not allowed; allowed: 1, 2"),
    ],
)
def test_what_the_protocol_has_not_is_one_line(tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["benchmark", *arguments])
    assert done.exit_code == 1
    assert words in done.output
    assert done.output.count("\n") == 1


def test_a_failure_on_one_system_counts_as_zero_skill_there():
    def row(system, method, share, kind="estimate"):
        rest = dict.fromkeys(COLUMNS, np.nan)
        return {
            **rest,
            "system": system,
            "method": method,
            "share": share,
            "kind": kind,
            "quantity": "metric",
        }

    rows = [
        row("a", "half", 0.01),
        *(row(system, "whole", 0.2) for system in "ab"),
        row("b", "zero skill", 1.0, "zero skill"),
    ]
    table = pd.concat([pd.DataFrame(rows), failed("half", "b", ["metric"])])
    order = ranking(table, ["a", "b"]).set_index("method")
    # Geometric means: sqrt(0.01 * 1) and sqrt(0.2 * 0.2).
    assert order.loc["half", "share"] == pytest.approx(0.1)
    assert order.loc["whole", "share"] == pytest.approx(0.2)
    assert order.loc[["half", "whole"], "rank"].tolist() == [1, 2]
    assert order.loc["half", ["systems", "worst"]].tolist() == [1, 1.0]
    assert pd.isna(order.loc["zero skill", "rank"])
    assert list(ranking(table, ["b"])["method"]) == ["whole", "zero skill"]  # no answer there, no row


@pytest.mark.slow
def test_what_takes_too_long_or_dies_is_stopped_and_the_rest_is_scored(written, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = written("""
        import os, time
        import numpy as np

        def estimate(states, t, grid, seed):
            if states.shape[1] == 16 and grid.extent[0][0] == 0.1:
                time.sleep(600)
            return {"value": np.zeros(grid.size)}
    """)
    done = CliRunner().invoke(app, ["benchmark", str(path), "--quick", "--limit", "1"])
    assert done.exit_code == 1
    assert "mine on ising-chain-16, seed 1: runs for more than 1 seconds, and was stopped" in done.output
    rows = pd.read_csv(tmp_path / "mine-benchmark.csv")
    own = rows[rows["method"] == "mine"].set_index(["quantity", "system"])
    assert own.loc[("free energy", "ising-chain-16"), "kind"] == "failed"
    assert own.loc[("free energy", SYSTEM), "kind"] == "estimate"
    path = written("import os\ndef estimate(states, t, grid, seed):\n    os._exit(3)\n")
    settings = benchmark.PROTOCOLS[True].settings(SYSTEM)
    with pytest.raises(ValueError, match=r"its process ended without an answer \(exit status 3\)"):
        benchmark.in_a_process(str(path), settings, 1, 60.0)
