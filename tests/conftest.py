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
