"""Run the workflow as its users do: the snakemake command, in a folder of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
import yaml

from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.settings import merged, read_settings

SECONDS = 1500  # a limit against hanging, not a measure


class Workflow:
    """The workflow of this checkout in one working directory, with settings merged over those of a study.

    The study is the tiny one, or ``base``; ``environment`` is added to that of the jobs.
    """

    def __init__(self, repository, directory, base=None, environment=None, **change):
        self.repository, self.directory = repository, directory
        self.environment = environment or {}
        tiny = yaml.safe_load((repository / "workflow" / "studies" / "tiny.yaml").read_text())
        self.overrides = merged(tiny if base is None else base, change)
        self.overrides_file = directory.parent / f"{directory.name}-{uuid.uuid4().hex[:8]}.yaml"
        self.overrides_file.write_text(yaml.safe_dump(self.overrides))

    def command(self, *arguments, cores=2):
        snakemake = [sys.executable, "-m", "snakemake", "--snakefile", self.repository / "Snakefile"]
        place = ["--directory", self.directory, "--configfile", self.overrides_file, "--cores", str(cores)]
        return [str(part) for part in (*snakemake, *place, *arguments)]

    def run(self, *arguments, cores=2, check=True):
        command = self.command(*arguments, cores=cores)
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            cwd=self.directory.parent,
            env=os.environ | self.environment,
        )
        assert not check or result.returncode == 0, result.stdout + result.stderr
        return result

    @property
    def layout(self):
        """Paths of all studies, relative to the working directory."""
        config = yaml.safe_load((self.repository / "config.yaml").read_text())
        return Layout(read_settings(merged(config, self.overrides)), self.repository)

    @property
    def study(self):
        """Paths of the (first) study, relative to the working directory."""
        return self.layout.studies[0]

    @contextlib.contextmanager
    def placed(self):
        """Paths of all studies whose settings name files, within the working directory."""
        with contextlib.chdir(self.directory):
            yield self.layout

    def in_folder(self):
        """The same where its settings name files, relative to the working directory."""
        with contextlib.chdir(self.directory):
            study = self.study
            study.targets  # noqa: B018 - names are found now, from files as they are
        return study

    def __call__(self, path):
        return self.directory / path

    def shards(self, *arrays):
        return [path for array in arrays for path in self.study.shards(array)]

    def sidecars(self, *arrays):
        return [path for array in arrays for path in self.study.sidecars(array)]

    def contents(self, paths):
        return {path: self(path).read_bytes() for path in paths}

    def times(self, paths):
        return {path: self(path).stat().st_mtime_ns for path in paths}


@pytest.fixture(scope="session")
def workflow_in(repository):
    """Set the workflow up in a folder: ``workflow_in(directory, base={...}, environment={...})``."""

    def make(directory, **settings):
        return Workflow(repository, directory, **settings)

    return make


@pytest.fixture(scope="session")
def finished(repository, shared_folder):
    """The tiny study, built once from nothing. Tests read it and change copies."""

    def build(folder):
        (folder / "run").mkdir()
        Workflow(repository, folder / "run").run()

    return Workflow(repository, shared_folder("finished", build) / "run")


@pytest.fixture(scope="session")
def quick(repository):
    """The settings of the quick tables of solvable systems."""
    return yaml.safe_load((repository / "workflow" / "studies" / "table1-quick.yaml").read_text())


@pytest.fixture(scope="session")
def built(workflow_in, shared_folder, quick):
    """Those tables and their figures, built once. Tests read them."""

    def build(folder):
        (folder / "run").mkdir()
        workflow_in(folder / "run", base=quick).run("table1")

    return workflow_in(shared_folder("solvable", build) / "run", base=quick)


@pytest.fixture
def copied(finished, repository, tmp_path):
    """Make a copy of the finished study, modification times and Snakemake's records included."""

    def copy(**change):
        shutil.copytree(finished.directory, tmp_path / "run", copy_function=shutil.copy2)
        return Workflow(repository, tmp_path / "run", **change)

    return copy


@pytest.fixture
def empty(repository, tmp_path):
    """The workflow in an empty folder, with any settings."""

    def make(**change):
        directory = Path(tmp_path / "run")
        directory.mkdir()
        return Workflow(repository, directory, **change)

    return make
