"""hessgeo as it is installed from a wheel, in a folder that has nothing of the checkout."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(repository, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    # A copy: building leaves folders beside the sources.
    files = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True)
    source = folder / "source"
    for name in files.stdout.splitlines():
        if (repository / name).exists() and not name.startswith(("tests/", "docs/")):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(repository / name, source / name, follow_symlinks=False)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", folder, source], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Run in an environment that has hessgeo from the wheel, and its dependencies from this environment."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    place = next(environment.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(place)
    # A path file adds a folder alone, not the path files in it, of which one is the editable checkout.
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    def run(*arguments, folder):
        code = "from hessgeo.command import app; app()"
        outer = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        command = [environment / "bin" / "python", "-c", code, *arguments]
        return subprocess.run(
            list(map(str, command)), cwd=folder, env=outer, capture_output=True, text=True, check=False
        )

    return run


def test_a_wheel_carries_the_workflow_and_nothing_else_of_the_checkout(wheel, repository):
    names = set(zipfile.ZipFile(wheel).namelist())
    beside = {"hessgeo/share/Snakefile", "hessgeo/share/config.yaml", "hessgeo/share/envs/hessgeo.yaml"}
    rules = {
        f"hessgeo/share/{path.relative_to(repository)}" for path in repository.glob("workflow/rules/*.smk")
    }
    page = {
        str(path.relative_to(repository))
        for path in repository.glob("hessgeo/explorer/page/*")
        if path.is_file()
    }
    assert beside | rules | page <= names
    assert len(page) > 10
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"hessgeo"}
    assert not [name for name in names if "__pycache__" in name or "/results/" in name]


def test_the_tiny_study_runs_from_an_empty_folder_and_can_be_opened(installed, tmp_path, finished):
    made = installed("init", "tiny.yaml", "--example", "tiny", folder=tmp_path)
    assert made.returncode == 0, made.stderr
    # One job for all shards of a kind, which loads the model once: the same results, and seconds less.
    study = tmp_path / "tiny.yaml"
    study.write_text(study.read_text().replace("shard: 64", "shard: 64, shards_per_job: 4"))
    assert "shards_per_job: 4" in study.read_text()
    done = installed("run", "tiny.yaml", "--cores", "2", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    # The same study, wherever the code lies.
    names = {path.relative_to(tmp_path / "results") for path in (tmp_path / "results").rglob("*.csv")}
    assert names == {path.relative_to(finished("results")) for path in finished("results").rglob("*.csv")}
    for name in names:
        assert (tmp_path / "results" / name).read_bytes() == finished(f"results/{name}").read_bytes()
    again = installed("run", "tiny.yaml", "--cores", "2", folder=tmp_path)
    assert "Nothing to be done" in again.stdout + again.stderr
    told = installed("open", Path("results") / "tiny", folder=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "phases" in told.stdout
