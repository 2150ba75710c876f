"""What pyproject.toml cannot say: a wheel carries the workflow, which lies beside the package in a checkout."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

BESIDE = ("Snakefile", "config.yaml", "envs", "profiles", "workflow")


class WithWorkflow(build_py):
    """Copies the workflow into the package, ``hessgeo/share``, unless the checkout itself is what is installed."""

    def run(self) -> None:
        """Copy the modules, then the workflow."""
        super().run()
        if self.editable_mode:
            return
        share = Path(self.build_lib, "hessgeo", "share")
        shutil.rmtree(share, ignore_errors=True)
        share.mkdir(parents=True)
        for name in BESIDE:
            source = Path(__file__).parent / name
            if source.is_dir():
                shutil.copytree(source, share / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(source, share / name)


setup(cmdclass={"build_py": WithWorkflow})
