"""Film the morph of a study: its geodesic and the straight line side by side, and both on the map of phases."""

from hessgeo import store
from hessgeo.figures.morph_film import MILLISECONDS, SHADES, film
from hessgeo.pipeline import script_context
from hessgeo.store.films import write_films


def main(morph, phases, films):
    pictures = list(film(morph, phases, loop=bool(morph.attrs["loop"])))
    write_films(films, pictures, milliseconds=MILLISECONDS, colours=SHADES)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(*map(store.read_dataset, (step.input.morph, step.input.phases)), dict(step.output.items()))
