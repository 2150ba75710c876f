"""What tests share: the repository, and its configuration as read from disk."""

import inspect
import os
import runpy
import shutil
from pathlib import Path

import jaxtyping
import pytest
import yaml
from filelock import FileLock

# Before torch is imported anywhere: idle threads of OpenMP that spin slow tests down on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
# Tests that run side by side have a core each; jobs of the workflow set their own number of threads.
if "PYTEST_XDIST_WORKER" in os.environ:
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

REPOSITORY = Path(__file__).parent.parent


def pytest_collection_modifyitems(items):
    """Long tests first in the share of every process, so that none is at work alone in the end: short ones fill up."""
    shares = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    long = [item for item in items if item.get_closest_marker("slow")]
    short = [item for item in items if not item.get_closest_marker("slow")]
    items[:] = [
        item
        for share in range(shares)
        for some in (long, short)
        for item in some[len(some) * share // shares : len(some) * (share + 1) // shares]
    ]


@pytest.fixture(autouse=True)
def refusals_of_our_own(request):
    """A test of what is refused passes what annotations forbid: its errors are to be those that users see."""
    if not request.config.getoption("--jaxtyping-packages"):
        yield
        return
    jaxtyping.config.update("jaxtyping_disable", "pytest.raises(" in inspect.getsource(request.function))
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def main_of(repository):
    """What a script of the workflow does: ``main_of("derive_metric")(...)``."""
    return lambda name: runpy.run_path(str(repository / "workflow" / "scripts" / f"{name}.py"))["main"]


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory):
    """A folder for what is built once for all processes: ``shared_folder(name, build)``, ``build(folder)`` fills it.

    The others wait for the one that builds.
    """
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def get(name, build):
        folder, done = root / name, root / f"{name}.done"
        with FileLock(root / f"{name}.lock"):
            if not done.exists():
                folder.mkdir()
                build(folder)
                done.touch()
        return folder

    return get


@pytest.fixture(scope="session")
def layout_of(repository):
    """Paths of all that files of ``workflow/studies`` have made: ``layout_of("steps.yaml", studies={...})``."""
    from hessgeo.pipeline.config_files import merge_config
    from hessgeo.pipeline.layout import Layout
    from hessgeo.pipeline.settings import read_settings

    def read(*files, **change):
        files = [repository / "config.yaml", *(repository / "workflow" / "studies" / file for file in files)]
        return Layout(read_settings(merge_config(files, change)), repository)

    return read


@pytest.fixture
def stand_in(tmp_path):
    """Write a script of the shell that stands in the place of a program: ``stand_in(name, script)`` is its path."""

    def write(name, script):
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return program

    return write


@pytest.fixture
def config(repository):
    return yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_checkpoint(shared_folder):
    """The folder of a small random checkpoint, for reading alone: ``small_checkpoint("small_stable_diffusion")``."""

    def get(builder, **settings):
        def build(folder):
            import checkpoints  # here, since diffusers takes seconds to import

            getattr(checkpoints, builder)(folder / "pipeline", **settings)

        changes = (f"{key}={value}" for key, value in sorted(settings.items()))
        return shared_folder("-".join((builder, *changes)), build) / "pipeline"

    return get


@pytest.fixture
def copy(small_checkpoint, tmp_path):
    """A copy of a small checkpoint, to be changed: ``copy("small_flux")``."""

    def make(builder="small_stable_diffusion", **settings):
        return shutil.copytree(small_checkpoint(builder, **settings), tmp_path / "copy")

    return make
