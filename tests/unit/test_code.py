"""The digest of a step's code follows what its script imports, and nothing that no step runs."""

from pathlib import Path

import pytest

from hessgeo.pipeline.code import Code

TREE = {
    "hessgeo/__init__.py": '"""The package."""\n',
    "hessgeo/leaf.py": '"""A leaf."""\nX = 1  # one\n',
    "hessgeo/alone.py": "Y = 1\n",
    "hessgeo/typed.py": "class Hint: ...\n",
    "hessgeo/middle.py": (
        "from typing import TYPE_CHECKING\n\nfrom hessgeo.leaf import X\n\nif TYPE_CHECKING:\n"
        "    from hessgeo.typed import Hint\n\n\ndef f(hint: 'Hint') -> int:\n    '''Doubles.'''\n    return 2 * X\n"
    ),
    "hessgeo/packed/__init__.py": "from hessgeo.packed.inner import value\n",
    "hessgeo/packed/inner.py": "value = 3\n",
    "hessgeo/packed/other.py": "from . import inner\nfrom .deep import bottom\n",
    "hessgeo/packed/deep/__init__.py": "",
    "hessgeo/packed/deep/bottom.py": "from ... import leaf\n",
    "hessgeo/kinds/__init__.py": (
        "from importlib import import_module\n\n\ndef load(name):\n"
        "    return import_module(f'hessgeo.kinds.{name}')\n"
    ),
    "hessgeo/kinds/one.py": "Z = 1\n",
    "hessgeo/kinds/two.py": "from hessgeo import alone\n",
    "hessgeo/named.py": "WHERE = {'leaf': 'hessgeo.leaf:X'}\nTEXT = 'see hessgeo.alone for more'\n",
    "workflow/scripts/plain.py": '"""A step."""\nimport numpy as np\n\nprint(np.pi)\n',
    "workflow/scripts/chain.py": "from hessgeo.middle import f\n\nprint(f(None))\n",
    "workflow/scripts/lazy.py": "def main():\n    from hessgeo import leaf\n\n    print(leaf.X)\n",
    "workflow/scripts/whole.py": "import hessgeo.packed\n",
    "workflow/scripts/relative.py": "from hessgeo.packed import other\n",
    "workflow/scripts/text.py": "from hessgeo import named\n",
    "workflow/scripts/kinds.py": "from hessgeo.kinds import load\n",
}


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small checkout: ``tree(path, old, new)`` changes a file, ``tree()`` gives all digests."""
    monkeypatch.chdir(tmp_path)
    for name, text in TREE.items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)

    def change(path=None, old="", new=""):
        if path is not None:
            text = Path(path).read_text()
            assert old in text
            Path(path).write_text(text.replace(old, new))
        code = Code(tmp_path)
        return {path.name: code.of(path.name) for path in Path("workflow/scripts").iterdir()}

    return change


def changed(before, after):
    return {name.removesuffix(".py") for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("path", "old", "new", "steps"),
    [
        (
            "hessgeo/leaf.py",
            "X = 1",
            "X = 2",
            {"chain", "lazy", "relative", "text"},
        ),  # through a module; lazily
        ("hessgeo/middle.py", "2 * X", "3 * X", {"chain"}),
        ("hessgeo/packed/inner.py", "3", "4", {"whole", "relative"}),  # by what the package runs
        ("hessgeo/packed/__init__.py", "value\n", "value\nother = 1\n", {"whole", "relative"}),
        ("hessgeo/packed/deep/bottom.py", "leaf\n", "leaf\nW = 1\n", {"relative"}),
        ("hessgeo/kinds/one.py", "1", "2", {"kinds"}),  # by a name that is made
        ("hessgeo/alone.py", "1", "2", {"kinds"}),
        ("hessgeo/named.py", "leaf'", "lief'", {"text"}),
        ("workflow/scripts/plain.py", "np.pi", "np.e", {"plain"}),
        ("hessgeo/typed.py", "Hint", "Other", set()),  # which no step runs
    ],
)
def test_a_change_makes_those_steps_due_that_import_it(tree, path, old, new, steps):
    assert changed(tree(), tree(path, old, new)) == steps


def test_the_package_itself_is_run_by_all_that_import_of_it(tree):
    steps = {Path(name).stem for name in TREE if name.startswith("workflow")}
    assert changed(tree(), tree("hessgeo/__init__.py", '"""\n', '"""\nVERSION = 1\n')) == steps - {"plain"}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("hessgeo/leaf.py", "# one", "# the first number"),
        ("hessgeo/leaf.py", "A leaf.", "A leaf of the tree."),
        ("hessgeo/leaf.py", "X = 1  # one\n", "\n\nX = (\n    1\n)\n'''Of a variable.'''\n"),
        ("hessgeo/middle.py", "Doubles.", "Twice."),
        ("workflow/scripts/plain.py", "A step.", "Another word."),
        ("workflow/scripts/plain.py", '"""A step."""\n', ""),
    ],
)
def test_words_and_layout_do_not_count(tree, path, old, new):
    assert changed(tree(), tree(path, old, new)) == set()


def test_a_text_that_is_used_counts(tree):
    assert changed(tree(), tree("hessgeo/named.py", "see hessgeo", "read hessgeo")) == {"text"}


def test_modules_that_are_chosen_stand_for_all_that_could_be(tree, tmp_path):
    def digests(*names):
        return [Code(tmp_path).of("kinds.py", {"hessgeo.kinds": [name]}) for name in names]

    before = digests("one", "two")
    tree("hessgeo/alone.py", "1", "2")
    after = digests("one", "two")
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_a_module_that_is_not_there_is_an_error(tree, tmp_path):
    tree()
    Path("workflow/scripts/plain.py").write_text("import hessgeo.nowhere.at_all\n")
    with pytest.raises(ModuleNotFoundError, match=r"there is no hessgeo\.nowhere"):
        Code(tmp_path).of("plain.py")


def test_what_was_found_is_remembered_and_found_again_after_a_change(tree, monkeypatch):
    monkeypatch.setattr("hessgeo.pipeline.content.SETTLED", 0)
    before = tree()
    monkeypatch.setattr(Code, "_parse", lambda self, file: pytest.fail("parsed again"))
    assert tree() == before


@pytest.fixture(scope="module")
def needs(repository, tmp_path_factory):
    """Modules that a step of this repository runs, by the name of its script."""
    code = Code(repository)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("hessgeo.pipeline.content.CACHE", tmp_path_factory.mktemp("cache"))
        yield lambda script: {
            ".".join(path.relative_to(repository).with_suffix("").parts)
            for path in code.files(f"{script}.py")
        }


def test_every_script_is_understood(repository, needs):
    for path in (repository / "workflow" / "scripts").glob("*.py"):
        assert len(needs(path.stem)) > 3


@pytest.mark.parametrize(
    ("script", "module", "used"),
    [
        ("generate_samples", "hessgeo.systems.diffusion.system", True),
        ("generate_samples", "hessgeo.systems.diffusion.text_to_image", True),
        ("generate_samples", "hessgeo.features", False),
        ("generate_samples", "hessgeo.posteriors.distance", False),
        ("generate_samples", "hessgeo.pipeline.settings", False),
        ("generate_samples", "hessgeo.pipeline.layout", False),
        ("embed_samples", "hessgeo.features.timm", True),  # named in a registry
        ("embed_samples", "hessgeo.systems.diffusion.system", False),
        ("train_diffusion", "hessgeo.models.digit_diffusion", True),
        ("train_diffusion", "hessgeo.models.digit_clip", False),
        ("estimate_posterior", "hessgeo.posteriors.distance", True),
        ("estimate_posterior", "hessgeo.pipeline.layout", False),
        ("fit_free_energy", "hessgeo.study.making", False),  # that the package itself only names
        ("solve_geodesics", "hessgeo.geodesics.newton", True),
        ("solve_geodesics", "hessgeo.pipeline.settings", False),
        ("draw_figure", "hessgeo.figures.thumbnails", True),
        ("sample_states", "hessgeo.systems.solvable.tasep", True),
        ("sample_states", "hessgeo.estimators.pca_vae", False),
        ("score_estimates", "hessgeo.estimators.pca_vae", False),
        ("estimate_geometry", "hessgeo.estimators.pca_vae", True),  # by a name that is made
        ("draw_figure", "hessgeo.figures.generative_lambda", True),
    ],
)
def test_steps_run_what_they_need(needs, script, module, used):
    assert (module in needs(script)) == used


def test_every_rule_with_a_script_knows_its_code(repository, tmp_path):
    from snakemake.api import SnakemakeApi
    from snakemake.settings.types import OutputSettings, ResourceSettings

    with SnakemakeApi(OutputSettings()) as api:
        snakefile = repository / "Snakefile"
        loaded = api.workflow(ResourceSettings(cores=1), snakefile=snakefile, workdir=tmp_path)
        rules = [rule for rule in loaded._workflow.rules if rule.script]
    assert len(rules) > 50
    assert [rule.name for rule in rules if rule.params.get("code") is None] == []
