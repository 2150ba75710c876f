"""What rules have in common reaches every one of them, and what they or a command line say themselves stays."""

from pathlib import Path

import pytest
from snakemake.api import SnakemakeApi
from snakemake.output_index import OutputIndex
from snakemake.resources import Resources
from snakemake.settings.types import OutputSettings, ResourceSettings

from hessgeo.pipeline.rules import WILDCARD, bare

# A profile of a cluster gives default resources, on top of Snakemake's own guess of the memory.
CLUSTER = Resources.parse(["slurm_partition=cpu"], allow_expressions=True, defaults="full")


@pytest.fixture(scope="module", params=[None, CLUSTER], ids=["plain", "cluster"])
def rules(request, repository, tmp_path_factory):
    """All rules with a script, as Snakemake has them with or without a profile's default resources."""
    given = {
        "overwrite_resources": {"solve_system": {"mem_mb": 777}},
        "overwrite_threads": {"derive_metric": 3},
    }
    resources = ResourceSettings(cores=2, default_resources=request.param, **given)
    with SnakemakeApi(OutputSettings()) as api:
        folder = tmp_path_factory.mktemp("run")
        loaded = api.workflow(resources, snakefile=repository / "Snakefile", workdir=folder)
        return {rule.name: rule for rule in loaded._workflow.rules if rule.script}


def test_a_rule_has_the_resources_of_all_or_its_own_or_those_of_the_command_line(rules):
    def stated(name):
        return [rules[name].resources[key].raw for key in ("_cores", "mem_mb", "runtime")]

    assert stated("train_clip") == [1, 4_000, 60]
    assert stated("estimate_posterior") == [8, 8_000, 240]
    assert stated("solve_system") == [1, 777, 60]
    assert stated("derive_metric") == [3, 4_000, 20]
    assert callable(rules["solve_geodesics"].resources["mem_mb"]._evaluator)


def test_no_script_is_named_by_the_variable_of_a_loop(repository):
    # Snakemake finds the script when the job runs: the loop over rules has ended then, and its variable is the last.
    for file in (repository / "workflow" / "rules").glob("*.smk"):
        assert 'f"../scripts/' not in file.read_text(encoding="utf-8"), file


def test_every_rule_has_an_environment_a_code_and_a_log_of_its_own(rules, repository):
    for rule in rules.values():
        assert Path(repository, "workflow", "rules", rule.conda_env).resolve().is_file()
        assert "code" in dict(rule.params.items())
        (log,) = rule.log
        assert set(WILDCARD.findall(str(log))) == rule.wildcard_names
        assert bool(rule.benchmark) == bool(rule.output)
    logs = [bare(rule.log[0]) for rule in rules.values()]
    assert len(set(logs)) == len(logs)


def test_logs_lie_by_the_place_of_the_results_the_rule_and_its_wildcards(rules):
    def log(name):
        return bare(rules[name].log[0]).removeprefix("results/logs/")

    assert log("fit_free_energy") == "{study}/fit_free_energy.log"
    assert log("train_clip") == "models/train_clip/{model}.log"
    assert log("solve_system") == "solvable/solve_system/{system}.log"
    assert log("verify") == "verify.log"
    assert bare(rules["solve_system"].benchmark) == "results/benchmarks/solvable/solve_system/{system}.tsv"


def test_the_rules_that_make_a_file_are_looked_for_once_and_found_as_by_snakemake(rules, monkeypatch):
    search = OutputIndex.match_producers.before_hessgeo
    files = ["results/digits/metric.nc", "results/digits/numbers/samples.json", "results/digits/nothing.nc"]
    index = OutputIndex(list(rules.values()))
    known = {file: search(index, file) for file in files}
    assert [sorted(rule.name for rule in known[file]) for file in files] == [
        ["derive_metric"], ["check_samples"], [],
    ]  # fmt: skip
    asked = []
    match = OutputIndex.match
    monkeypatch.setattr(OutputIndex, "match", lambda index, file: asked.append(file) or match(index, file))
    again = OutputIndex(list(rules.values()))
    assert [again.match_producers(file) for file in 3 * files] == [known[file] for file in 3 * files]
    assert asked == files
