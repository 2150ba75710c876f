"""Film the morph of a study: its geodesic and the straight line side by side."""

from hessgeo import store
from hessgeo.figures.morph_film import MILLISECONDS, SHADES, film
from hessgeo.pipeline import script_context
from hessgeo.store.films import write_films


def main(morph, films):
    pictures = list(film(morph, loop=bool(morph.attrs["loop"])))
    write_films(films, pictures, milliseconds=MILLISECONDS, colours=SHADES)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.morph), dict(step.output.items()))
