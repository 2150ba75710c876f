"""Join handwritten digits by lines, graph paths and geodesics; ask the diffusion model how likely they are."""

from pathlib import Path

from hessgeo import store
from hessgeo.densities.digit_paths import compare_paths, digit_coordinates, fit_density
from hessgeo.densities.probability_flow import ProbabilityFlowDensity, network_velocity
from hessgeo.models.digits import load_digits
from hessgeo.pipeline import pick_device, script_context
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import load_denoiser


def main(output, model, digits, split):
    images = load_digits(**split)
    space, train, test = digit_coordinates(images, digits["components"])
    options = {key: digits[key] for key in ("seed", "clouds", "floor", "flow_steps")}
    density = fit_density(train, digits["density"], **options)
    denoiser = load_denoiser(describe_checkpoint(model), steps=digits["ode_steps"], device=pick_device())
    flow = {"start": digits["noise_angle"], "steps": digits["ode_steps"], "probes": digits["probes"]}
    velocity = network_velocity(denoiser.network, denoiser.scheduler, denoiser.latent_shape)
    judge = ProbabilityFlowDensity(velocity, dimension=64, seed=digits["seed"], **flow)
    graph = {key: digits[key] for key in ("pairs", "quantile", "neighbours", "seed")}
    sizes = {"held_out": test, "shape": denoiser.image_shape[:2], "count": digits["images"]}
    paths = compare_paths(space, train, images.train.labels, density, judge, **sizes, **graph)
    store.write_dataset(output, paths)


if __name__ == "__main__":
    with script_context(snakemake) as step:
        model = Path(step.input.index).parent
        main(step.output.paths, model, step.params.digits, step.params.split)
