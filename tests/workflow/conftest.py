"""Run the workflow as its users do: the snakemake command, in a folder of its own."""

import shutil
from pathlib import Path

import pytest
import yaml
from offline import build_offline, offline_environment
from running import SMALL, Workflow

from hessgeo.pipeline.folders import NETWORK_FILES


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


@pytest.fixture(scope="session")
def guarded(shared_folder):
    """An environment without a network and with a home of its own, and the folder of both."""
    folder = shared_folder("guarded", build_offline)
    return folder, offline_environment(folder)


@pytest.fixture(scope="session")
def routes(workflow_in, small_checkpoint, guarded, shared_folder):
    """Distances and a network on the same samples, along two planes of which one is carried to the comparison."""
    base = {
        "run": ["distance", "network"],
        "defaults": {
            **SMALL,
            "system": {"checkpoint": "ddim", "steps": 4},
            "slice": {"triplets": [1, [2, 3, 4]]},
            "embedding": {"kind": "pixels"},
            "sampling": {"grid": [16, 16], "shard": 256},
        },
        "studies": {
            "distance": {},
            "network": {
                "samples": "distance",
                "posterior": {
                    "kind": "network",
                    "network": {"grid": [16, 16], "epochs": 2, "batch_size": 32},
                },
            },
        },
        "comparisons": {"routes": ["distance-1", "network-1"]},
    }
    figure = [f"results/comparisons/routes.{kind}" for kind in ("svg", "png", "csv")]
    network = [f"results/network-2/posterior_network/{name}" for name in NETWORK_FILES.values()]

    def build(folder):
        shutil.copytree(small_checkpoint("small_ddim"), folder / "run" / "ddim")
        workflow_in(folder / "run", base=base, environment=guarded[1]).run(*figure, *network, "compare")

    return workflow_in(shared_folder("routes", build) / "run", base=base, environment=guarded[1])


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
