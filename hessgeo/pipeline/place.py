"""Where the workflow lies: in the checkout, or in what was installed of it."""

from __future__ import annotations

from pathlib import Path

SNAKEFILE = "Snakefile"
SHARE = "share"  # folder of the package into which a wheel puts what lies beside the package in a checkout


def workflow_folder() -> Path:
    """The folder that holds the Snakefile, ``config.yaml``, ``workflow`` and ``envs``.

    Raises:
        FileNotFoundError: if the package was installed without them.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent, package / SHARE):
        if (folder / SNAKEFILE).is_file() and (folder / "workflow").is_dir():
            return folder
    raise FileNotFoundError(
        f"{package} was installed without the workflow: there is no {SHARE}/{SNAKEFILE} in it"
    )


def folder_of(basedir: object) -> Path:
    """The folder of the workflow that Snakemake reads.

    Args:
        basedir: Snakemake's, of the file that it reads: a folder, or a place on a server of repositories, of which
            the workflow that is installed with the package takes the place.

    Raises:
        FileNotFoundError: if it is no folder, and the package was installed without the workflow.
    """
    folder = Path(str(basedir))
    return folder if (folder / SNAKEFILE).is_file() else workflow_folder()
