"""Film the zoom of a study: its first series, window by window."""

import logging

from hessgeo import store
from hessgeo.figures.zoom_film import MILLISECONDS, frames
from hessgeo.pipeline import script_context
from hessgeo.store.films import write_gif, write_mp4


def main(windows, films):
    film = list(frames(windows, str(windows["series"].to_numpy()[0])))
    write_gif(films["gif"], film, milliseconds=MILLISECONDS)
    if "mp4" in films:
        write_mp4(films["mp4"], film, milliseconds=MILLISECONDS)
    else:
        logging.warning("no film.mp4: it needs the extra animation, pip install 'hessgeo[animation]'")


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.windows), dict(step.output.items()))
