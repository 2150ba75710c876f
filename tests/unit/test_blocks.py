"""Jobs that make several shards: every shard is made by one rule, and what is set for one holds for all."""

from types import SimpleNamespace

import pytest
import yaml
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, ResourceSettings

from hessgeo.pipeline import study_models
from hessgeo.pipeline.code import Code
from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings

CHANGE = {
    "run": ["digits", "other", "third"],
    "defaults": {"free_energy": {"splines": [10, 10]}},
    "studies": {
        "digits": {"sampling": {"grid": [16, 16], "shard": 32, "shards_per_job": 3}},
        "other": {"samples": "digits"},
        "third": {"sampling": {"grid": [16, 16], "shard": 64}},
    },
}


@pytest.fixture
def layout(config, repository, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *changes: Layout(read_settings(_merge(config, *changes)), repository)


def _merge(config, *changes):
    for change in changes:
        config = merged(config, change)
    return config


def test_every_shard_is_made_once(layout):
    found = layout(CHANGE)
    single, *several = found.blocks["generate_samples"]
    assert (single.suffix, single.studies, single.shards) == ("", "third", ("{shard}",))
    assert [list(block.shards) for block in several] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    study = found.of("digits")
    for array in ("image", "embedding"):
        assert [path for block in several for path in block.files(array)] == study.shards(array)
        assert [path for block in several for path in block.sidecars(array)] == study.sidecars(array)
    assert found.of("other").shards("image") == study.shards("image")


def test_one_shard_a_job_is_the_default(layout):
    (block,) = layout().blocks["generate_samples"]
    assert block.studies == "digits"
    assert block.files("image") == ["results/{study}/samples/{store}.zarr/image/c/{shard}/0/0/0"]


@pytest.mark.parametrize(
    ("grid", "most", "jobs"), [([160, 100], 1, 250), ([160, 102], 2, 128), ([400, 320], 8, 250)]
)
def test_of_many_shards_a_job_makes_so_many_that_the_jobs_stay_few(layout, grid, most, jobs):
    found = layout({"studies": {"digits": {"sampling": {"grid": grid, "shard": 64}}}})
    single, *several = found.blocks["generate_samples"]
    count = found.of("digits").shard_count("image")
    if most == 1:
        assert (single.studies, several, count) == ("digits", [], jobs)
    else:
        assert [k for block in several for k in block.shards] == list(range(count))
        assert len(several) == jobs
        assert max(len(block.shards) for block in several) == most


def test_how_many_a_job_makes_changes_no_name(layout):
    one = layout(CHANGE).of("digits")
    other = layout(CHANGE, {"studies": {"digits": {"sampling": {"shards_per_job": 1}}}}).of("digits")
    assert one.targets == other.targets


def test_rules_of_blocks_follow_that_with_a_wildcard(repository, tmp_path):
    change = tmp_path / "change.yaml"
    change.write_text(yaml.safe_dump(CHANGE))
    resources = ResourceSettings(
        cores=2,
        overwrite_resources={"generate_samples": {"gpu": 1, "mem_mb": 777}},
        overwrite_threads={"embed_samples": 2},
    )
    (tmp_path / "run").mkdir()
    with SnakemakeApi(OutputSettings()) as api:
        loaded = api.workflow(
            resources,
            config_settings=ConfigSettings(configfiles=[change]),
            snakefile=repository / "Snakefile",
            workdir=tmp_path / "run",
        )
        rules = {rule.name: rule for rule in loaded._workflow.rules}
    sampling = [rule for name, rule in rules.items() if name.startswith("generate_samples")]
    embedding = [rule for name, rule in rules.items() if name.startswith("embed_samples")]
    assert [rule.name for rule in sampling] == [
        "generate_samples",
        "generate_samples_0_to_2_of_digits",
        "generate_samples_3_to_5_of_digits",
        "generate_samples_6_to_7_of_digits",
    ]
    for rule in sampling:
        assert rule.resources["gpu"].raw == 1
        assert rule.resources["mem_mb"].raw == 777
    assert [rule.resources["_cores"].raw for rule in embedding] == [2] * 4
    assert callable(rules["embed_samples_0_to_2_of_digits"].params.get("code"))
    # A path without wildcards is found at once, among however many rules.
    assert not rules["embed_samples_0_to_2_of_digits"].wildcard_names


def test_what_a_study_and_a_step_depend_on_is_found_once_for_all_their_jobs(layout, monkeypatch):
    asked = []

    def noting(place, name):
        original = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *given: (asked.append(name), original(*given))[1])

    noting(study_models, "system_identity")
    noting(study_models, "embedding_identity")
    noting(Code, "files")
    found, wildcards = layout(CHANGE), SimpleNamespace(study="digits")
    for name in ("sampling", "system", "samples", "embedder", "embedding_array", "store") * 50:
        found.of_study(name)(wildcards)
    for _ in range(50):
        found.code("create_samples.py")(wildcards)
    assert sorted(asked) == ["embedding_identity", "files", "system_identity"]
