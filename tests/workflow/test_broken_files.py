"""The snakemake command itself, given configuration files that are none: one line, whoever reads them first."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


def dry_run(repository, directory, *arguments):
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        repository / "Snakefile",
        "--directory",
        directory,
    ]
    return subprocess.run(
        [*map(str, command), "--dry-run", "--quiet", "rules", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=directory, timeout=600,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, " is missing, must be a configuration file"),
        (b"a: [1, 2", ", line 2, column 1: did not find expected ',' or ']'; allowed: YAML"),
        (b"studies: &s {tiny: *s}", ", line 1, column 10: it refers to itself"),
        (b"", ": the file is empty"),
        (b"a: \xff", ", line 1, column 4: the byte 0xff is no UTF-8"),
        (b"run: [digits]\nrun: [digits]", ", line 2, column 1: the key 'run' stands twice, first in line 1"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(repository, tmp_path, content, words):
    change = tmp_path / "change.yaml"
    if content is not None:
        change.write_bytes(content)
    (directory := tmp_path / "there").mkdir()
    result = dry_run(repository, directory, "--configfile", change)
    assert result.returncode == 1
    assert result.stdout == ""
    profile, line = result.stderr.splitlines()
    assert profile.startswith("Using workflow specific profile")
    assert line.startswith(f"hessgeo: {change}{words}")
    assert list(directory.iterdir()) == []


def test_a_configuration_in_json_is_read_and_a_name_of_two_lines_is_refused_in_one(repository, tmp_path):
    change = tmp_path / "change.json"
    change.write_text('{"studies": {"digits": {"sampling": {"grid": [32, 32],\t"shard": 64}}}}')
    arguments = ["--configfile", change, "--replace-workflow-config"]
    result = dry_run(repository, tmp_path, *arguments, "--config", "models={digits: {}}")
    assert result.returncode == 0, result.stderr
    assert "generate_samples" in result.stdout
    change.write_text('{"studies": {"a\\n": {}}}')
    result = dry_run(repository, tmp_path, "--configfile", change)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("hessgeo: studies.a\\n: 'a\\n' is not allowed as a name")


def test_configurations_that_are_drawn_end_in_one_line(repository, tmp_path):
    """A few of those that ``test_fuzzed_configs.py`` draws by the thousand, through the command itself."""
    (directory := tmp_path / "there").mkdir()
    change = tmp_path / "change.yaml"
    # A value of another type, a number out of bounds, a list too long, a key that is none, one that says too much.
    for text, key in (
        ('defaults: {posterior: {kernel: ["a\\nb", .nan]}}', "defaults.posterior.kernel"),
        ("studies: {digits: {sampling: {shard: -7777777777777777777777}}}", "studies.digits.sampling.shard"),
        ("generative: {graphs: {factors: [1, 1, 1, 1, .inf]}}", "generative.graphs.factors"),
        ('models: {digits: {clip: {"w\\0idth ": {a: 1}}}}', "models.digits.clip.w"),
    ):
        change.write_text(text)
        result = dry_run(repository, directory, "--configfile", change)
        assert result.returncode == 1
        # Snakemake says which files it reads before they are, on one stream or the other.
        said = (result.stdout + result.stderr).splitlines()
        lines = [line for line in said if not line.startswith(("Using ", "Config file "))]
        assert lines
        assert all(line.startswith(f"hessgeo: {key}") and "; allowed: " in line for line in lines), lines
    assert list(directory.iterdir()) == []
