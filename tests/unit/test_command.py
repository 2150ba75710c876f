"""The command: what it hands to Snakemake, what it writes, and its refusals in one line."""

import sys

import pytest
import yaml
from typer.testing import CliRunner

from hessgeo.command import app, snakemake_command
from hessgeo.pipeline import place


@pytest.fixture
def hessgeo(monkeypatch):
    """Run the command: its exit status, what it printed, and the command that it became."""

    def run(*arguments):
        became = []
        monkeypatch.setattr("os.execv", lambda file, command: became.append(command))
        done = CliRunner().invoke(app, list(map(str, arguments)))
        return done.exit_code, done.output, became[0] if became else None

    return run


def test_a_study_its_targets_and_options_of_snakemake_are_handed_on(hessgeo, repository, tmp_path):
    study = tmp_path / "study.yaml"
    study.write_text("run: []\n")
    code, _, command = hessgeo("run", study, "table2", "--dry-run", "--cores", "3")
    assert code == 0
    assert command[:3] == [sys.executable, "-m", "snakemake"]
    assert command[command.index("--snakefile") + 1] == str(repository / "Snakefile")
    assert command[command.index("--cores") + 1] == "3"
    # The list of files ends the command, or it would swallow targets.
    assert command[-4:] == ["table2", "--dry-run", "--configfile", str(study)]


def test_an_option_may_stand_where_the_study_may(hessgeo):
    _, _, command = hessgeo("run", "--dry-run")
    assert command[-1] == "--dry-run"
    assert "--configfile" not in command


@pytest.mark.parametrize("name", ["plan", "verify"])
def test_targets_of_the_workflow_have_commands_of_their_own(hessgeo, name):
    assert hessgeo(name)[2][-1] == name


def test_the_report_is_written_where_it_is_wanted(hessgeo):
    assert hessgeo("report", "-o", "page.html")[2][-2:] == ["--report", "page.html"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "missing.yaml"], "missing.yaml is no file of settings; allowed: a .yaml file"),
        (["plan", "table2"], "table2 is no file of settings"),
        (["run", "--cores", "0"], "--cores: '0' is not allowed; allowed: a number from 1, or all"),
        (["explore", "nowhere"], "nowhere holds no finished study: free_energy.nc is missing"),
        (["init", "--example", "nothing"], "--example: 'nothing' is not allowed; allowed: "),
        (["init", "no-such-folder/study.yaml"], "no-such-folder/study.yaml cannot be written: No such file"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(hessgeo, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, output, command = hessgeo(*arguments)
    assert (code, command) == (1, None)
    assert output.startswith("hessgeo: ")
    assert output.count("\n") == 1
    assert words in output
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_settings_is_written_once_and_never_over_another(hessgeo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert hessgeo("init")[0] == 0
    text = (tmp_path / "study.yaml").read_text()
    assert yaml.safe_load(text)["run"] == ["first"]
    code, output, _ = hessgeo("init")
    assert code == 1
    assert "is there already" in output
    assert (tmp_path / "study.yaml").read_text() == text


def test_the_file_to_start_from_is_one_that_the_workflow_takes(hessgeo, tmp_path, repository):
    from hessgeo.pipeline.config_files import merge_config
    from hessgeo.pipeline.settings import read_settings

    file = tmp_path / "study.yaml"
    hessgeo("init", file)
    settings = read_settings(merge_config([repository / "config.yaml", file], {}))
    assert settings.run == ("first",)


def test_the_workflow_is_found_in_a_checkout_and_in_what_a_wheel_installs(monkeypatch, tmp_path, repository):
    assert place.workflow_folder() == repository
    package = tmp_path / "hessgeo"
    (package / "pipeline").mkdir(parents=True)
    monkeypatch.setattr(place, "__file__", str(package / "pipeline" / "place.py"))
    with pytest.raises(FileNotFoundError, match="installed without the workflow"):
        snakemake_command(None)
    (package / "share" / "workflow").mkdir(parents=True)
    (package / "share" / "Snakefile").touch()
    assert place.workflow_folder() == package / "share"
