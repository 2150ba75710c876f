"""Draw the statistics that a network learned against energy and magnetisation."""

from pathlib import Path

from hessgeo import store
from hessgeo.estimators.exponential import ExponentialTrainer
from hessgeo.figures import learned_statistics, save_figure
from hessgeo.pipeline import script_context
from hessgeo.pipeline.solvable_systems import gather_samples

MOST = 20_000  # states in the figure


def main(network, samples, output):
    sites = samples.sites
    names = (r"$\sum_{\langle ij\rangle} s_i s_j$ a site", r"$\sum_i s_i$ a site")
    figure = learned_statistics.draw(
        network.statistics(samples.states), samples.statistics / sites, names=names
    )
    save_figure(*figure, output.svg, output.png, output.csv)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        (settings,), path = step.params.systems.values(), step.params.store
        rows = slice(0, min(MOST, settings["samples"]))
        samples = gather_samples(settings, *(store.read_array(path, name, rows) for name in ("state", "t")))
        network = ExponentialTrainer().load(Path(step.input.network[0]).parent, device="cpu")
        main(network, samples, step.output)
