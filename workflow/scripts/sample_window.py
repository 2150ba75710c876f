"""Sample, embed and segment one window of a zoom, in one precision."""

import logging
import time

from hessgeo import store
from hessgeo.pipeline import pick_device, script_context
from hessgeo.pipeline.zoom import describe_window, window_numbers, window_of, zoomed_model


def main(zoomed, boundary, box, level, width, settings, phases, output):
    start = time.perf_counter()
    window = window_of(boundary, tuple(map(tuple, box)), level, width)
    found = describe_window(zoomed, boundary, window, settings, phases)
    logging.info("%.0f s: %s", time.perf_counter() - start, window_numbers(found))
    store.write_dataset(output.window, found)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        params = step.params
        zoomed = zoomed_model(params, store.read_npy(step.input.anchors), device=pick_device())
        boundary, level = store.read_dataset(step.input.boundary), int(step.wildcards.level)
        main(zoomed, boundary, params.box, level, params.width, params.zoom, params.phases, step.output)
