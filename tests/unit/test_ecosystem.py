"""What others find the project by: its citation, its place in the catalogue of workflows, containers and templates."""

import ast
import json
import re
import tomllib

import pytest
import yaml

import hessgeo
from hessgeo.pipeline.config_files import merge_config
from hessgeo.pipeline.place import folder_of, workflow_folder
from hessgeo.pipeline.settings import read_settings

FORMS = ("bug.yml", "estimator.yml", "idea.yml")


@pytest.fixture(scope="module")
def project(repository):
    return tomllib.loads((repository / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def citation(repository):
    return yaml.safe_load((repository / "CITATION.cff").read_text())


@pytest.fixture(scope="module")
def deposit(repository):
    return json.loads((repository / ".zenodo.json").read_text())


def test_one_version_one_licence_one_name_everywhere(repository, project, citation, deposit):
    containers = [(repository / "containers" / name).read_text() for name in ("Dockerfile", "hessgeo.def")]
    versions = {project["version"], citation["version"], deposit["version"], hessgeo.__version__}
    assert versions == {project["version"]}
    assert f"hessgeo:{project['version']} " in containers[0]
    assert f"Version {project['version']}\n" in containers[1]
    assert {project["license"], citation["license"], deposit["license"]} == {"MIT"}
    holder = re.search(r"Copyright \(c\) \d{4} (.*)", (repository / "LICENSE").read_text())[1]
    authors = (*project["authors"], *citation["authors"], *deposit["creators"])
    assert {author["name"] for author in authors} == {holder}
    about = project["description"].partition(":")[0]
    assert citation["title"] == deposit["title"] == f"hessgeo: {about[0].lower()}{about[1:]}"
    assert citation["abstract"] == deposit["description"]


def test_the_citation_names_the_papers_with_what_finds_them(citation, deposit, project):
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    papers = {entry["identifiers"][0]["value"]: entry for entry in citation["references"]}
    assert set(papers) == {entry["identifier"] for entry in deposit["related_identifiers"]}
    assert {number.removeprefix("arXiv:") for number in papers} == {
        url.rpartition("/")[2] for url in project["urls"].values()
    }
    for entry in papers.values():
        assert entry["type"] in ("article", "conference-paper")
        assert all({"family-names", "given-names"} == set(author) for author in entry["authors"])


def test_the_catalogue_finds_what_it_demands(repository):
    usage = yaml.safe_load((repository / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    # Rules have conda environments, and no container.
    assert usage["software-stack-deployment"] == {
        "conda": True,
        "apptainer": False,
        "apptainer+conda": False,
    }
    rules = "".join(path.read_text() for path in (repository / "workflow" / "rules").glob("*.smk"))
    assert "container:" not in rules + (repository / "Snakefile").read_text()
    assert (repository / "workflow" / "Snakefile").read_text().count('include: "../Snakefile"\n') == 1
    deployed = repository / "config" / "config.yaml"
    assert deployed.read_bytes() == (repository / "config.yaml").read_bytes()


def test_the_settings_that_its_page_shows_are_read(repository):
    text = (repository / "config" / "README.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 2
    config = merge_config([repository / "config.yaml"], {})
    for block in blocks:
        own = yaml.safe_load(block)
        settings = read_settings(config | {**own, "studies": config["studies"] | own["studies"]})
        assert list(settings.run) == own["run"]


def test_the_workflow_is_the_one_that_is_read_or_the_one_that_is_installed(repository, tmp_path):
    assert folder_of(repository) == repository
    assert folder_of("github.com/someone/hessgeo/@v1") == folder_of(tmp_path) == workflow_folder()


def test_containers_hold_what_is_pinned_and_nothing_of_the_host(repository, project):
    docker = (repository / "containers" / "Dockerfile").read_text()
    apptainer = (repository / "containers" / "hessgeo.def").read_text()
    image = re.search(r"^FROM (\S+)$", docker, re.MULTILINE)[1]
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-\w+", image)  # a version, and no host: the engine's own
    assert re.search(r"^From: (\S+)$", apptainer, re.MULTILINE)[1] == image
    least = project["requires-python"].removeprefix(">=")
    assert image.startswith(f"python:{least}.")
    environment = yaml.safe_load((repository / "envs" / "hessgeo.yaml").read_text())
    assert f"python={least}" in environment["dependencies"]
    # Both reach buckets; pods of Kubernetes are of the one, and the first makes the others.
    for recipe, extras in ((docker, "cloud,kubernetes"), (apptainer, "cloud")):
        assert re.findall(
            rf"pip install (?:--\S+ )*--constraint constraints\.txt '\.\[{extras}\]'(?: \\)?$",
            recipe,
            re.MULTILINE,
        )
        assert len(re.findall(r"pip install", recipe)) == 1
    # No image runs as root, and none carries results, environments or the history.
    assert re.findall(r"^USER (\S+)$", docker, re.MULTILINE) == ["1000"]
    assert docker.index("USER 1000") < docker.index("ENTRYPOINT")
    ignored = (repository / ".dockerignore").read_text().split("\n")
    assert {".git", ".venv", "results"} <= set(ignored)
    assert re.findall(r"^%(\w+)$", apptainer, re.MULTILINE) == [
        "files", "environment", "post", "runscript", "test", "labels",
    ]  # fmt: skip


def test_the_apptainer_image_is_built_from_all_that_a_wheel_takes_and_no_more(repository):
    recipe = (repository / "containers" / "hessgeo.def").read_text()
    lines = re.search(r"^%files\n(.*?)\n\n", recipe, re.DOTALL | re.MULTILINE)[1].split("\n")
    files = dict(line.split() for line in lines)
    assert {name: f"/opt/hessgeo/{name}" for name in files} == files
    assert all((repository / name).exists() for name in files)
    setup = (repository / "setup.py").read_text()
    beside = ast.literal_eval(re.search(r"^BESIDE = (.*)$", setup, re.MULTILINE)[1])
    built = {
        "hessgeo",
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        "MANIFEST.in",
        "constraints.txt",
    }
    assert set(files) == built | set(beside)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_asks_what_one_needs_to_know(repository, name):
    form = yaml.safe_load((repository / ".github" / "ISSUE_TEMPLATE" / name).read_text())
    assert {"name", "description", "body"} <= set(form)
    ids = [field["id"] for field in form["body"]]
    assert len(set(ids)) == len(ids)
    for field in form["body"]:
        assert field["type"] in ("input", "textarea")
        assert field["attributes"]["label"]
        assert set(field.get("validations", {})) <= {"required"}
    assert any(field.get("validations", {}).get("required") for field in form["body"])


def test_the_form_of_a_change_names_files_that_there_are(repository):
    templates = repository / ".github"
    assert {path.name for path in (templates / "ISSUE_TEMPLATE").iterdir()} == {*FORMS, "config.yml"}
    text = (templates / "PULL_REQUEST_TEMPLATE.md").read_text()
    named = [word for word in re.findall(r"`([^`]+)`", text) if "/" in word or "." in word]
    assert len(named) >= 4
    assert [word for word in named if not (repository / word).exists()] == []
