"""Film the zoom of a study: its first series, window by window."""

from hessgeo import store
from hessgeo.figures.zoom_film import MILLISECONDS, frames
from hessgeo.pipeline import script_context
from hessgeo.store.films import write_films


def main(windows, films):
    film = list(frames(windows, str(windows["series"].to_numpy()[0])))
    write_films(films, film, milliseconds=MILLISECONDS)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        main(store.read_dataset(step.input.windows), dict(step.output.items()))
