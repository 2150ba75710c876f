"""The workflow of a checkout in a folder of its own, run by the command that users type."""

import contextlib
import os
import subprocess
import sys
import uuid

import yaml

from hessgeo.pipeline.layout import Layout
from hessgeo.pipeline.rules import made_by
from hessgeo.pipeline.settings import merged, read_settings
from hessgeo.store.audit import Made

SECONDS = 1500  # a limit against hanging, not a measure
# As few numbers as the schema and the fits take.
SMALL = {
    "posterior": {"cells": 20, "quantile": 0.5, "sources": 64},
    "free_energy": {"splines": [8, 8]},
    "scan": {"factors": [0.5, 1]},
    "figures": {"mosaic": 8, "sources": 2},
}


class Workflow:
    """The workflow of this checkout in one working directory, with settings merged over those of a study.

    The study is the tiny one, or ``base``; ``environment`` is added to that of the jobs.
    """

    def __init__(self, repository, directory, base=None, environment=None, **change):
        self.repository, self.directory = repository, directory
        self.environment = environment or {}
        tiny = yaml.safe_load((repository / "workflow" / "studies" / "tiny.yaml").read_text())
        self.overrides = tiny if base is None else base
        self.overrides_file = directory.parent / f"{directory.name}-{uuid.uuid4().hex[:8]}.yaml"
        self.change(**change)

    def change(self, **change):
        """Merge settings over those that there are."""
        self.overrides = merged(self.overrides, change)
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

    def begin(self, *arguments, cores=2, output=subprocess.DEVNULL):
        """Start a run, as a process in a group of its own; what it says goes to ``output``."""
        return subprocess.Popen(
            self.command(*arguments, cores=cores),
            cwd=self.directory.parent,
            env=os.environ | self.environment,
            stdout=output,
            stderr=subprocess.STDOUT if output == subprocess.PIPE else output,
            start_new_session=True,
            text=True,
        )

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


def made_by_workflow(repository, folder):
    """What the rules of the workflow make, as audits ask for it; ``folder`` is one to read them in."""
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, ResourceSettings

    with contextlib.chdir(folder), SnakemakeApi(OutputSettings()) as api:
        loaded = api.workflow(ResourceSettings(cores=1), snakefile=repository / "Snakefile", workdir=folder)
        return Made(**made_by(loaded._workflow.rules, "results"))
