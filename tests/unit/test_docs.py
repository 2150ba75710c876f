"""What the pages say holds: their Python runs, their settings are taken or refused as said, what they name is there."""

import json
import re
import runpy
import shlex
import textwrap
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from spots import embed, generate

import hessgeo as hg
from hessgeo.command import app
from hessgeo.pipeline.config_files import SettingsError, merge_config
from hessgeo.pipeline.schema import schema_errors
from hessgeo.pipeline.settings import read_settings
from hessgeo.systems.slices import LatentSlice

REPOSITORY = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *(f"docs/{path.name}" for path in (REPOSITORY / "docs").glob("*.md")),
]
TEXTS = {page: (REPOSITORY / page).read_text(encoding="utf-8") for page in PAGES}
BLOCK = re.compile(r"^( *)```({?\w*}?)\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
BLOCKS = {
    page: [(language, textwrap.dedent(text)) for _, language, text in BLOCK.findall(text)]
    for page, text in TEXTS.items()
}
KEPT = [path.stem for path in sorted((REPOSITORY / "docs" / "figures" / "gallery").glob("*.json"))]

# Of the sizes that pages name, so that all of them run in seconds.
SMALLER = {
    "(64, 64)": "(12, 12)",
    "(65, 65)": "(17, 17)",
    "torch.rand(500, 2)": "torch.rand(4, 2)",
    "moons(400": "moons(60",
    "(100, 1, 1)))": "(100, 1, 1)), grid=(12, 12))",
    "anchors=anchors, posterior": "anchors=anchors, grid=(12, 12), posterior",
}


def with_blocks(language):
    return [page for page in PAGES if any(found == language for found, _ in BLOCKS[page])]


# Python.


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A folder in which a study has been built, and what the pages take as given."""
    folder = tmp_path_factory.mktemp("documented")
    anchors = hg.random_anchors(3, (100, 1, 1))
    study = hg.map(generate, embed, anchors=anchors, grid=(12, 12), geodesics={"points": 16})
    study.save(folder / "results" / "digits")
    plane = LatentSlice(anchors, study.grid.extent)
    given = {
        "generate": generate,
        "embed": embed,
        "embedding": study.embedding,
        "points": study.points,
        "latents": lambda t: plane.latents(np.asarray(t)).astype(np.float32),
    }
    return folder, given


@pytest.mark.parametrize("page", with_blocks("python"))
def test_python_of_the_pages_runs(opened, page, tmp_path, monkeypatch):
    folder, given = opened
    monkeypatch.chdir(tmp_path)
    Path("results").symlink_to(folder / "results")
    names = dict(given)
    if page == "docs/library.md":
        t = np.random.default_rng(0).uniform(-0.3, 0.3, (2_000, 2))
        normal = t + np.random.default_rng(1).standard_normal(t.shape)  # of which log Z is t^2 / 2
        names |= {"points": torch.zeros(3, 2).double(), "statistics": normal, "t": t}
    for language, text in BLOCKS[page]:
        if language == "python":
            for shown, small in SMALLER.items():
                text = text.replace(shown, small)
            exec(compile(text, page, "exec"), names)


def test_the_notebook_maps_in_eight_lines():
    assert len(BLOCKS["docs/notebook.md"][0][1].splitlines()) <= 8


# Settings.


def settings_blocks():
    """Every block of YAML, with the line that it is said to be refused with, or None."""
    for page in PAGES:
        blocks = [*BLOCKS[page], ("", "")]
        for (language, text), (after, line) in pairwise(blocks):
            if language == "yaml":
                yield pytest.param(
                    text, line.strip() if after == "text" else None, id=f"{page}: {text[:40]!r}"
                )


@pytest.mark.parametrize(("text", "line"), list(settings_blocks()))
def test_settings_of_the_pages_are_taken_or_refused_as_they_say(text, line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("old.ckpt").touch()
    Path("mine.yaml").write_text(text)
    files = [REPOSITORY / "config.yaml", "mine.yaml"]
    if line is None:
        merged = merge_config(files, {})
        assert schema_errors(merged) == []
        if "run" in yaml.safe_load(text) and not re.search(r"\.(png|csv|safetensors|onnx)", text):
            read_settings(merged)  # all that it names is there
        return
    with pytest.raises(SettingsError) as refused:
        read_settings(merge_config(files, {}))
    parts = [part.strip() for part in line.split("..") if part.strip()]
    assert any(all(part in found for part in parts) for found in str(refused.value).splitlines()), (
        refused.value
    )


# Commands and files.


def targets():
    rules = (REPOSITORY / "workflow" / "rules").glob("*.smk")
    text = "\n".join(path.read_text() for path in (REPOSITORY / "Snakefile", *rules))
    return set(re.findall(r"^rule (\w+):", text, re.MULTILINE))


def make_targets():
    return set(re.findall(r"^(\w+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))


def shell_lines(page):
    """Commands of a page, without comments, with its variables put in."""
    values = {}
    for language, text in BLOCKS[page]:
        for line in text.splitlines() if language == "sh" else ():
            words = shlex.split(line, comments=True)
            if words and "=" in words[0]:
                values |= dict(word.split("=", 1) for word in words)
            elif words:
                yield [values[word[1:]] if word.startswith("$") else word for word in words]


@pytest.mark.parametrize("page", with_blocks("sh"))
def test_commands_of_the_pages_are_there(page):
    commands = {command.name or command.callback.__name__ for command in app.registered_commands}
    takes_value = {"--cores", "--configfile", "--config", "--workflow-profile", "--report", "--profile"}
    for command, *words in shell_lines(page):
        command = command.removeprefix(".venv/bin/")
        plain = [word for word, before in zip(words, ["", *words], strict=False) if before not in takes_value]
        plain = [word for word in plain if not word.startswith("-") and "=" not in word]
        if command == "make":
            assert set(plain) <= make_targets(), words
        elif command == "hessgeo":
            assert plain[0] in commands, words
            assert {word for word in plain[1:] if "." not in word and "/" not in word} <= targets(), words
        elif command == "snakemake":
            assert set(plain) <= targets(), words
        elif command == "python" and plain[0].endswith(".py"):
            assert (REPOSITORY / plain[0]).is_file(), words
        else:
            assert command in ("python", "pip", "grep"), command


@pytest.mark.parametrize("page", PAGES)
def test_what_the_pages_name_is_there(page):
    text = TEXTS[page]
    named = re.findall(
        r"\b(?:workflow|benchmarks|examples|hessgeo|tests|docs)/[\w/.-]*\w\.(?:yaml|py|md|smk|csv|toml)", text
    )
    made = ("docs/_build", "workflow/scripts/verb_object")
    assert [name for name in named if not name.startswith(made) and not (REPOSITORY / name).exists()] == []
    assert set(re.findall(r"`make (\w+)", text)) <= make_targets()
    assert set(re.findall(r"`snakemake (?:--cores \w+ )?(\w+)", text)) <= targets()


def slug(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_pictures_of_the_pages_are_there(page):
    text = BLOCK.sub("", TEXTS[page])
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http:", "https:", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        place = (REPOSITORY / page).parent / path if path else REPOSITORY / page
        assert place.exists(), target
        if anchor:
            headings = re.findall(
                r"^#+ (.*)$", BLOCK.sub("", place.read_text(encoding="utf-8")), re.MULTILINE
            )
            assert anchor in map(slug, headings), target


def test_every_page_is_in_the_contents():
    listed = {line for _, text in BLOCKS["docs/index.md"] for line in text.splitlines()}
    pages = {Path(page).stem for page in PAGES if page.startswith("docs/")}
    assert pages - {"index"} <= listed


def test_the_readme_is_short_and_begins_with_two_commands():
    lines = TEXTS["README.md"].splitlines()
    assert len(lines) <= 150
    commands = [line.split()[:2] for line in BLOCKS["README.md"][0][1].splitlines()]
    assert commands == [["make", "figures"], ["make", "test"]]


# The gallery.


def test_every_example_keeps_its_result():
    assert set(KEPT) == {path.stem for path in (REPOSITORY / "examples").glob("*.py")} - {"gallery"}


@pytest.mark.parametrize("name", KEPT)
def test_kept_results_are_those_of_the_code(name):
    keep = runpy.run_path(str(REPOSITORY / "docs" / "keep.py"))
    about = json.loads((keep["KEPT"] / f"{name}.json").read_text())
    assert about["code"] == keep["code_digest"](name), f"run it again: python docs/keep.py {name}"
    assert {file: keep["file_digest"](keep["KEPT"] / file) for file in about["files"]} == about["files"]
    text = (REPOSITORY / "examples" / f"{name}.py").read_text()
    assert set(re.findall(rf"/figures/gallery/({name}[-\w]*\.\w+)", text)) == set(about["files"])
