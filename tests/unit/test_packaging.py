"""What is installed is what is pinned, the same everywhere, from nowhere in particular."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, requires, version

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# Installed with torch on some platforms only, and pinned by torch itself.
PLATFORM = re.compile(r"nvidia-|cuda-|triton|hf-xet")


@pytest.fixture(scope="module")
def pinned(repository):
    lines = (repository / "constraints.txt").read_text().splitlines()
    pins = [line.split("==") for line in lines if line and not line.startswith("#")]
    assert all(len(pin) == 2 for pin in pins)
    return {canonicalize_name(name): pin for name, pin in pins}


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


def needed(requirements, extra=""):
    """Everything that a list of requirements pulls in on this machine."""
    todo, seen = [(requirement, extra) for requirement in requirements], {}
    while todo:
        text, extra = todo.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        extras = requirement.extras or {""}
        if extras <= seen.get(name, set()):
            continue
        seen[name] = seen.get(name, set()) | extras
        try:
            todo += [(child, one) for child in requires(name) or [] for one in extras]
        except PackageNotFoundError:
            pytest.fail(f"{name} is required but not installed")
    return set(seen)


def imported(file):
    """Top names of the modules that a file imports anywhere, those of Python itself left out."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
        yield from {name.split(".")[0] for name in names} - set(sys.stdlib_module_names)


def top_names(package):
    """Top names of the modules that an installed package brings."""
    installed = distribution(package)
    declared = (installed.read_text("top_level.txt") or "").split()
    # The first column of its list of files, as text: paths of all files of torch take seconds.
    paths = (line.partition(",")[0] for line in (installed.read_text("RECORD") or "").splitlines())
    return set(declared) or {path.partition("/")[0].removesuffix(".py") for path in paths}


def test_whatever_is_imported_is_a_dependency(repository, project):
    files = (file for folder in ("hessgeo", "workflow") for file in (repository / folder).rglob("*.py"))
    names = {name for file in files for name in imported(file)}
    assert {"torch", "PIL"} <= names  # the walk did find them
    # What stores need that lie at a URL is asked for where one is set, and an executor where its profile is given.
    extras = project["optional-dependencies"]
    needs = [*project["dependencies"], *extras["cloud"], *extras["kubernetes"]]
    brought = set().union(*(top_names(Requirement(line).name) for line in needs))
    assert names - brought - {"hessgeo"} == set()


def test_every_dependency_is_pinned_direct_or_not(pinned, project):
    names = needed(project["dependencies"] + project["optional-dependencies"]["dev"])
    assert len(names) > 60  # the walk did reach beyond the direct ones
    assert {name for name in names if not PLATFORM.match(name)} - set(pinned) == set()


@pytest.mark.parametrize("extra", ["peers", "docs"])
def test_peers_and_what_makes_pages_are_pinned_and_needed_by_nothing(pinned, project, extra):
    peers = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"][extra]}
    assert peers <= set(pinned)
    assert peers & needed(project["dependencies"] + project["optional-dependencies"]["dev"]) == set()


def test_what_is_installed_is_what_is_pinned(pinned, project):
    for name in needed(project["dependencies"] + project["optional-dependencies"]["dev"]):
        if not PLATFORM.match(name):
            # torch may add a local label for its build, such as +cpu.
            assert version(name).split("+")[0] == pinned[name], name


def test_nothing_of_one_platform_is_pinned(pinned):
    assert [name for name in pinned if re.match(r"nvidia-|cuda-|triton", name)] == []


def test_the_conda_environment_has_the_same_versions(repository, pinned, project):
    environment = yaml.safe_load((repository / "envs" / "hessgeo.yaml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    installed = {canonicalize_name(name): pin for name, pin in (line.split("==") for line in pip)}
    assert {name: pinned[name] for name in installed} == installed
    # Jobs of a study whose samples lie in a bucket run there, too.
    needs = project["dependencies"] + project["optional-dependencies"]["cloud"]
    wanted = {name for name in needed(needs) if not PLATFORM.match(name)}
    assert wanted - set(installed) == set()


def test_no_registry_is_named(repository):
    # Whoever installs decides where packages come from.
    files = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True)
    hosts = re.compile(r"(pypi|pythonhosted|anaconda|download\.pytorch)\.(org|com)|--(extra-)?index-url")
    named = [
        file
        for file in files.stdout.splitlines()
        if not file.endswith("test_packaging.py")
        and (repository / file).is_file()
        and hosts.search((repository / file).read_text(encoding="utf-8", errors="ignore"))
    ]
    assert named == []


def make(repository, *arguments):
    """What ``make`` prints, as from a shell: under ``make test`` it would inherit flags and announce folders."""
    outer = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", *arguments]
    done = subprocess.run(command, cwd=repository, env=outer, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_set_up_installs_what_is_pinned_once(repository):
    plan = make(repository, "--dry-run", "--always-make", "figures")
    (line,) = [line for line in plan if "pip install" in line]
    assert line.startswith(
        "python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' ||"
    )
    ours = [line for line in plan if line.startswith("snakemake")]
    assert ours == ["snakemake --cores all", "snakemake --report results/report.html"]


def test_every_target_of_the_makefile_is_explained(repository):
    text = (repository / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY:(.*)$", text, re.MULTILINE)[1].split())
    assert {line.split()[0] for line in make(repository, "help")} == targets
