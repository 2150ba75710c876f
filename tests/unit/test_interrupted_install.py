"""``make`` whose installation was interrupted installs anew, and one that was not installs nothing again."""

import os
import shutil
import subprocess

import pytest

# In the place of Python: venv makes a folder of programs, or empties it first; pip is killed, or fails, where asked to.
PYTHON = """echo "$*" >> "$TRACE"
case "$*" in
  *venv*--clear*) for last; do :; done; rm -rf "$last"; mkdir -p "$last/bin" ;;
  *venv*) for last; do :; done; mkdir -p "$last/bin" ;;
  *"pip install"*) touch .venv/half; test ! -e killed || kill -9 $PPID; test ! -e offline || exit 1 ;;
esac
for last; do :; done
test ! -d .venv/bin || { cp "$0" .venv/bin/python 2>/dev/null; touch .venv/bin/pip; chmod +x .venv/bin/pip; } || true
"""


@pytest.fixture
def make(repository, stand_in, tmp_path):
    """Run ``make`` in a folder, with a Python that writes down what it is asked for."""
    for name in ("Makefile", "constraints.txt", "pyproject.toml"):
        shutil.copy(repository / name, tmp_path)
    python = stand_in("python3", PYTHON)
    trace = tmp_path / "trace"

    def run(target=".venv/.installed"):
        trace.write_text("")
        done = subprocess.run(
            ["make", f"PYTHON={python}", target],
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"], "TRACE": str(trace)},
            capture_output=True,
            check=False,
        )
        return done.returncode, trace.read_text()

    return run


def test_an_installation_that_was_interrupted_is_begun_anew(make, tmp_path):
    (tmp_path / "killed").touch()
    status, asked = make()
    assert status != 0
    assert "--clear" not in asked
    assert (tmp_path / ".venv" / "half").exists()
    (tmp_path / "killed").unlink()
    (tmp_path / ".venv" / "left").touch()
    status, asked = make()
    assert status == 0
    assert "venv --clear" in asked
    assert not (tmp_path / ".venv" / "left").exists()
    assert make() == (0, "")


def test_an_environment_that_is_whole_is_kept_when_pins_change(make, tmp_path):
    assert make()[0] == 0
    (tmp_path / ".venv" / "mine").touch()
    later = (tmp_path / ".venv" / ".installed").stat().st_mtime + 10
    os.utime(tmp_path / "constraints.txt", (later, later))
    status, asked = make()
    assert status == 0
    assert "pip install" in asked
    assert "venv" not in asked.replace(".venv", "")
    assert (tmp_path / ".venv" / "mine").exists()


def test_an_installation_that_failed_is_tried_again_in_what_is_there(make, tmp_path):
    (tmp_path / "offline").touch()
    assert make()[0] != 0
    (tmp_path / ".venv" / "mine").touch()
    (tmp_path / "offline").unlink()
    status, asked = make()
    assert status == 0
    assert "--clear" not in asked
    assert (tmp_path / ".venv" / "mine").exists()


def test_one_of_further_packages_that_was_interrupted_is_begun_anew(make, tmp_path):
    assert make()[0] == 0
    (tmp_path / "killed").touch()
    assert make(".venv/.docs")[0] != 0
    (tmp_path / "killed").unlink()
    status, asked = make(".venv/.docs")
    assert status == 0
    assert "venv --clear" in asked
    assert make(".venv/.docs") == (0, "")
