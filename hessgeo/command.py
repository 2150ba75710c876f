"""The command ``hessgeo``: Snakemake's own command with our Snakefile, in any folder, and what else one types often."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from hessgeo.pipeline.place import SNAKEFILE, workflow_folder

__all__ = ["app", "snakemake_command"]

PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True}
REPORT = "results/report.html"

app = typer.Typer(
    help="The Hessian geometry of what a generative model has learned. What is not known here goes to Snakemake.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Study = Annotated[
    Path | None,
    typer.Argument(
        metavar="[STUDY.yaml]", help="settings, merged over the defaults; without it the embedded digits"
    ),
]
Cores = Annotated[str, typer.Option("--cores", "-c", help="cores to use, a number or all")]


def snakemake_command(study: Path | None, *arguments: str, cores: str = "all") -> list[str]:
    """The command that runs the workflow in the working directory.

    Args:
        study: a file of settings, or None for the defaults.
        arguments: targets and options of Snakemake.
        cores: a number, or ``all``.

    Raises:
        ValueError: if the file is missing or no file of settings; ``cores`` is neither a number nor ``all``.
    """
    if not re.fullmatch(r"all|[1-9]\d*", cores):
        raise ValueError(f"--cores: {cores!r} is not allowed; allowed: a number from 1, or all")
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(workflow_folder() / SNAKEFILE),
        "--cores",
        cores,
    ]
    if study is not None and str(study).startswith("-"):
        # An option of Snakemake's, which stands where a file may.
        study, arguments = None, (str(study), *arguments)
    if study is None:
        return [*command, *arguments]
    if study.suffix not in (".yaml", ".yml") or not study.is_file():
        raise ValueError(
            f"{study} is no file of settings; allowed: a .yaml file, as `hessgeo init` writes one"
        )
    # Last: a list of files ends where the command does, and would take targets for more of them.
    return [*command, *arguments, "--configfile", str(study)]


def _become(study: Path | None, *arguments: str, cores: str = "all") -> None:
    """End in Snakemake, in this process: signals, progress and the exit status are its own."""
    try:
        command = snakemake_command(study, *arguments, cores=cores)
    except (ValueError, FileNotFoundError) as error:
        _refuse(error)
    os.execv(command[0], command)


def _refuse(error: Exception) -> None:
    typer.echo(f"hessgeo: {error}", err=True)
    raise typer.Exit(1)


@app.command(context_settings=PASSED_ON)
def run(context: typer.Context, study: Study = None, cores: Cores = "all") -> None:
    """Build studies: samples, posterior, free energy, metric, phases and figures, under results/.

    Targets and options of Snakemake may follow: `hessgeo run study.yaml table2 --dry-run`.
    """
    _become(study, *context.args, cores=cores)


@app.command(context_settings=PASSED_ON)
def plan(context: typer.Context, study: Study = None, cores: Cores = "all") -> None:
    """Say what studies take (time, memory, disk) before any of it is done."""
    _become(study, "plan", *context.args, cores=cores)


@app.command(context_settings=PASSED_ON)
def verify(context: typer.Context, study: Study = None, cores: Cores = "all") -> None:
    """Compare everything under results with what vouches for it, and remove what is damaged."""
    _become(study, "verify", *context.args, cores=cores)


@app.command(context_settings=PASSED_ON)
def report(
    context: typer.Context,
    study: Study = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="the page to write")] = Path(REPORT),
) -> None:
    """Write all figures of what is built, with their captions, into one page."""
    _become(study, "--report", str(output), *context.args)


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="the file to write")] = Path("study.yaml"),
    example: Annotated[str, typer.Option("--example", "-e", help="which example to start from")] = "start",
) -> None:
    """Write a file of settings to start from."""
    studies = workflow_folder() / "workflow" / "studies"
    examples = sorted(path.stem for path in studies.glob("*.yaml"))
    if example not in examples:
        _refuse(ValueError(f"--example: {example!r} is not allowed; allowed: {', '.join(examples)}"))
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write((studies / f"{example}.yaml").read_text(encoding="utf-8"))
    except FileExistsError:
        _refuse(ValueError(f"{file} is there already, and is left as it is; allowed: the name of a new file"))
    except OSError as error:
        _refuse(ValueError(f"{file} cannot be written: {error.strerror}"))
    typer.echo(f"wrote {file}; next: hessgeo run {file}")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="a pickle or a TorchScript archive of weights")],
    target: Annotated[Path, typer.Argument(help="the .safetensors file to write")],
    key: Annotated[str | None, typer.Option(help="which of several networks, such as params_ema")] = None,
) -> None:
    """Convert a pickle of weights to safetensors, without running code in it."""
    from hessgeo.weights.pickles import convert_pickle  # loads torch

    try:
        typer.echo(convert_pickle(source, target, key=key))
    except ValueError as error:
        _refuse(error)


@app.command()
def morph(
    folder: Annotated[
        Path, typer.Argument(metavar="STUDY", help="the folder of a study, such as results/digits")
    ],
    start: Annotated[str, typer.Option("--from", metavar="A,B", help="where it starts")],
    end: Annotated[str, typer.Option("--to", metavar="A,B", help="where it ends")],
    via: Annotated[
        list[str] | None, typer.Option(metavar="A,B", help="a point on the way; more than once")
    ] = None,
    loop: Annotated[bool, typer.Option("--loop", help="come back to the start")] = False,
    mean: Annotated[
        bool, typer.Option("--mean", help="go by the points' Frechet mean between every two")
    ] = False,
    frames: Annotated[int | None, typer.Option(min=3, max=2000, help="images, 24 by default")] = None,
    step: Annotated[float | None, typer.Option(help="longest step instead, in units of the pace")] = None,
    pace: Annotated[
        str, typer.Option(help="fisher: equal steps in the metric; features: in what is seen")
    ] = "fisher",
    metric: Annotated[str, typer.Option(help="fisher or embedding: in which the way is shortest")] = "fisher",
    out: Annotated[Path, typer.Option("--out", "-o", help="films and figure to write")] = Path("morph"),
    settings: Annotated[
        list[Path] | None, typer.Option(help="settings that it was made by, over the defaults")
    ] = None,
) -> None:
    """Film fresh images along the geodesic between two points of a study, beside the straight line."""
    from hessgeo.study.morph import film_study  # loads torch

    asked = {"loop": loop, "mean": mean, "frames": frames, "step": step, "pace": pace, "metric": metric}
    points = {"--from": start, **{f"--via {place}": place for place in via or []}, "--to": end}
    try:
        for line in film_study(folder, points, asked, out, settings or []):
            typer.echo(line)
    except (ValueError, OSError) as error:
        _refuse(error)


@app.command("open")
def open_study(
    folder: Annotated[Path, typer.Argument(help="the folder of a study, such as results/digits")],
) -> None:
    """Say what a study found: samples, fit, verdict, phases, and where its figures are."""
    import hessgeo

    try:
        typer.echo(repr(hessgeo.open(folder)))
    except (ValueError, OSError) as error:
        _refuse(error)
    for figure in sorted((folder / "figures").glob("*.png")):
        typer.echo(figure)


@app.command()
def explore(
    folder: Annotated[Path, typer.Argument(help="the folder of a study, such as results/digits")],
    study: Annotated[
        Path | None, typer.Argument(metavar="[STUDY.yaml]", help="settings that it was made with, for --live")
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="sample the model where the map is clicked")] = False,
    show: Annotated[bool, typer.Option("--open/--no-open", help="open the page in a browser")] = True,
) -> None:
    """Write the explorer of a study, one page that needs nothing else, and open it.

    With --live the page is served to this machine alone until Ctrl-C, and the study's model is sampled between nodes.
    """
    from hessgeo.study.explorer import write_page  # loads torch

    try:
        if live:
            _serve(folder, study, show)
        else:
            page = write_page(folder)
            typer.echo(page)
            if show:
                typer.launch(str(page))
    except (ValueError, OSError) as error:
        _refuse(error)


def _serve(folder: Path, study: Path | None, show: bool) -> None:
    """Serve the explorer with the model behind it until it is interrupted."""
    from hessgeo.study.live import live_server  # loads the model

    with live_server(folder, study) as server:
        typer.echo(f"{server.address} until Ctrl-C")
        if show:
            typer.launch(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            typer.echo("ended")


@app.command()
def benchmark(
    estimator: Annotated[
        Path,
        typer.Argument(metavar="ESTIMATOR.py", help="a file with a function estimate(states, t, grid, seed)"),
    ],
    systems: Annotated[list[str] | None, typer.Option("--systems", help="some of the systems alone")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seeds", help="some of the seeds alone")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="small systems, for a first look")] = False,
    limit: Annotated[float, typer.Option("--limit", min=0, help="seconds it may take each time")] = 600.0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="the table of all rows to write")
    ] = None,
) -> None:
    """Score an estimator of yours on systems with exact answers, and rank it among those of hessgeo.

    The protocol is fixed and has a version. What the estimator is given, and what it returns:
    `python -c "import hessgeo.estimators.outside as o; help(o)"`.
    """
    from hessgeo.pipeline import benchmark as benchmarks  # loads numba

    output = output or Path(f"{estimator.stem}-benchmark.csv")
    try:
        chosen = benchmarks.protocol(quick=quick, systems=systems or (), seeds=seeds or ())
        outcome = benchmarks.score_outside(
            estimator, chosen, limit=limit, told=lambda line: typer.echo(f"hessgeo: {line}", err=True)
        )
        order, rows = benchmarks.ranked(outcome, chosen)
        rows.to_csv(output, index=False)
    except (ValueError, OSError) as error:
        _refuse(error)
    for line in benchmarks.lines_of(order, chosen):
        typer.echo(line)
    typer.echo(f"\nwrote {output}")
    if outcome.refused:
        raise typer.Exit(1)
