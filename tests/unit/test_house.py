"""The house: which room may use which, and how large a file and a function may be."""

import ast
import subprocess
import sys

import pytest

# From the ground up; a room uses rooms of lower floors, and of its own floor none but itself.
FLOORS = (
    ("grids", "weights"),
    ("numerics",),
    ("store",),
    ("systems", "features", "models"),
    ("posteriors",),
    ("free_energies",),
    ("learned",),
    ("metrics",),
    ("geodesics", "estimators"),
    ("phases", "densities"),
    ("evaluation",),
    ("figures",),
    ("explorer",),
    ("pipeline",),
    ("study",),
    ("command",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
FILE_LINES, FUNCTION_LINES = 400, 60


@pytest.fixture(scope="module")
def trees(repository):
    """The syntax tree of every module, by its file."""
    files = sorted((repository / "hessgeo").rglob("*.py"))
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in files}


def imports(tree, for_types=False):
    """Modules of the package that a tree imports anywhere; those that a type checker alone reads only if asked for."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not for_types:
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("hessgeo"):
            if node.module == "hessgeo":
                yield from (f"hessgeo.{alias.name}" for alias in node.names)
            else:
                yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.startswith("hessgeo."))
        yield from imports(node, for_types)


def test_every_room_has_a_floor(repository):
    rooms = {
        path.stem
        for path in (repository / "hessgeo").iterdir()
        if path.stem not in ("__init__", "py", "__pycache__")
    }
    assert rooms == set(FLOOR)


def test_no_arrow_points_up(trees, repository):
    wrong = []
    for path, tree in trees.items():
        room = path.relative_to(repository / "hessgeo").parts[0].removesuffix(".py")
        if room == "__init__":
            continue  # the front door looks into every room, and waits until it is asked
        for module in imports(tree):
            other = module.split(".")[1]
            if other != room and FLOOR[other] >= FLOOR[room]:
                wrong.append(f"{path.relative_to(repository)} uses {module}")
    assert wrong == []


def test_no_file_is_longer_than_one_can_read(repository):
    files = [
        path
        for folder in ("hessgeo", "workflow")
        for path in (repository / folder).rglob("*")
        if path.suffix in (".py", ".smk")
    ]
    lengths = {
        str(path.relative_to(repository)): len(path.read_text(encoding="utf-8").splitlines())
        for path in files
    }
    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def body_lines(node):
    """Lines of a function from its first statement that is no docstring to its last."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return body[-1].end_lineno - body[0].lineno + 1 if body else 0


def test_no_function_is_longer_than_one_can_follow(trees, repository):
    long = {
        f"{path.relative_to(repository)}:{node.name}": body_lines(node)
        for path, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and body_lines(node) > FUNCTION_LINES
    }
    assert long == {}


def test_steps_that_need_no_torch_do_not_wait_for_it(repository):
    steps = (
        "start_posterior", "estimate_posterior", "estimate_posterior_rows", "combine_posterior",
        "calibrate_posterior", "trace_history", "segment_phases", "create_samples", "collect_numbers",
        "draw_figure", "draw_solvable_figure", "verify",
    )  # fmt: skip
    scripts = (repository / "workflow" / "scripts" / f"{step}.py" for step in steps)
    trees = (ast.parse(script.read_text(encoding="utf-8")).body for script in scripts)
    imported = [
        ast.unparse(node) for tree in trees for node in tree if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    code = "\n".join([*sorted(set(imported)), "import sys", "sys.exit('torch' in sys.modules)"])
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
