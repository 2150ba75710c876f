"""An environment in which no process gets out of the machine, and a note of each that tried."""

# In every Python process of a run: notes that it was there, and notes and refuses every way out of the machine.
GUARD = """
import os, socket, sys
from pathlib import Path

notes = Path(__file__).parent
with (notes / "processes").open("a") as file:
    file.write(" ".join(sys.orig_argv) + "\\n")

def refuse(*arguments, **options):
    with (notes / "attempts").open("a") as file:
        file.write(f"{sys.orig_argv}: {arguments}\\n")
    raise OSError("a test has no network")

class Guarded(socket.socket):
    def connect(self, address):
        return super().connect(address) if self.family == socket.AF_UNIX else refuse(address)

    def connect_ex(self, address):
        return super().connect_ex(address) if self.family == socket.AF_UNIX else refuse(address)

socket.socket, socket.getaddrinfo = Guarded, refuse
"""
NOWHERE = "http://127.0.0.1:9"  # nothing listens there, should a library go round Python's sockets


def offline_environment(folder):
    """Variables of a run whose guard, home and temporary files are in a folder that ``build_offline`` filled."""
    return {
        "PYTHONPATH": str(folder / "guard"),
        "HOME": str(folder / "home"),
        "XDG_CACHE_HOME": str(folder / "home" / ".cache"),
        "TMPDIR": str(folder / "temporary"),
        "HTTP_PROXY": NOWHERE,
        "HTTPS_PROXY": NOWHERE,
        "HF_ENDPOINT": NOWHERE,
    }


def build_offline(folder):
    """Make what ``offline_environment`` names."""
    for name in ("guard", "home", "temporary"):
        (folder / name).mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(GUARD)
