"""Film the morph of a study: its geodesic and the straight line side by side."""

import logging

from hessgeo import store
from hessgeo.figures.morph_film import MILLISECONDS, SHADES, film
from hessgeo.pipeline import script_context
from hessgeo.store.films import write_gif, write_mp4


def main(morph, films):
    pictures = list(film(morph, loop=bool(morph.attrs["loop"])))
    write_gif(films["gif"], pictures, milliseconds=MILLISECONDS, colours=SHADES)
    if "mp4" in films:
        write_mp4(films["mp4"], pictures, milliseconds=MILLISECONDS)
    else:
        logging.warning("no film.mp4: it needs the extra animation, pip install 'hessgeo[animation]'")


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.morph), dict(step.output.items()))
