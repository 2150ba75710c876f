"""What tests share: the repository, and its configuration as read from disk."""

import os
from pathlib import Path

import pytest
import yaml

# Before torch is imported anywhere: idle threads of OpenMP that spin slow tests down on a machine with other work.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository():
    return REPOSITORY


@pytest.fixture(scope="session")
def schema(repository):
    return repository / "workflow" / "schemas" / "config.schema.yaml"


@pytest.fixture
def config(repository):
    return yaml.safe_load((repository / "config.yaml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def small_checkpoint(tmp_path_factory):
    """The folder of a small random checkpoint, built once: ``small_checkpoint("small_stable_diffusion")``."""
    folders = {}

    def build(builder, **settings):
        import checkpoints  # here, since diffusers takes seconds to import

        key = (builder, *sorted(settings.items()))
        if key not in folders:
            folders[key] = getattr(checkpoints, builder)(
                tmp_path_factory.mktemp(builder) / "pipeline", **settings
            )
        return folders[key]

    return build
