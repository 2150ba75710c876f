"""What a new process imports; the process of tests has everything."""

import subprocess
import sys

HEAVY = {"torch", "diffusers", "timm", "open_clip", "onnx", "onnxruntime"}


def heavy_after(code, *arguments):
    """Which of ``HEAVY`` a process has once it has run some code, whose ``sys.argv`` has the arguments."""
    told = f"import sys\n{code}\nprint(*sorted({HEAVY} & set(sys.modules)))"
    command = [sys.executable, "-c", told, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
