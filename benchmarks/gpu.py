"""What a GPU changes: the numbers it must not, the times and the memory it does. At most four minutes.

    python benchmarks/gpu.py                     # checks against the CPU, speed-ups, peak memory, the paper's size
    python benchmarks/gpu.py --quick             # the checks alone
    python benchmarks/gpu.py fits geodesics      # some of them
    python benchmarks/gpu.py --small --device cpu fits   # without a GPU: the CPU as its own peer

- *posterior*: rows of a U^2-Net with random weights, in single precision: mean and marginal.
- *fits*: every convex fit of ``free_energies.fits.FITS`` with its default settings, and the reweighting fit, in double
  precision: free energy, gradient and metric at the nodes. (The MLP ends training elsewhere by rounding alone.)
- *geodesics*: a hundred pairs on a metric with ridges, in double precision: lengths, points, certificates.
- *sampling*: images of a small Stable Diffusion (random weights) in single and half precision, and the same images
  in batches of another size; what ``batch_size: auto`` finds is run, its memory held against what was free.
- *size*: Stable Diffusion 1 at 512 x 512 with random weights, guidance on, half precision: images an hour.

Posteriors of distances are left out: they are NumPy's on every machine. Where torch finds no GPU it says so and ends;
what needs diffusers is left out, and said, where it is not installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from potentials import POTENTIALS, exact_posterior
from record import Row, record

from hessgeo.free_energies.base import FitData
from hessgeo.free_energies.fits import FITS
from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.geodesics import geodesics
from hessgeo.grids import Grid
from hessgeo.metrics.gridded import GriddedMetric
from hessgeo.pipeline.schema import defaults
from hessgeo.posteriors.network import NetworkConfig, PosteriorNetwork, network_posterior
from hessgeo.posteriors.u2net import U2Net
from hessgeo.systems.memory import peak_memory

BOX, EXTENT = ((-1.0, 1.0), (-1.0, 1.0)), ((-1.0, 2.0), (-1.0, 2.0))
PROMPT, GUIDANCE = "a photograph of a cat", 5.0
PARTS = ("posterior", "fits", "geodesics", "sampling", "size")
FAILED = []
ROWS = []  # of the table of all benchmarks


def report(what, difference, tolerance):
    """Print a check, and remember it if it failed; what is no number fails."""
    good = bool(difference <= tolerance)
    print(f"{'ok    ' if good else 'FAILED'} {what}: {difference:.2e} (at most {tolerance:.0e})", flush=True)
    ROWS.append(Row(f"gpu, {what}", difference))
    if not good:
        FAILED.append(what)


def timed(run, device):
    """Result and seconds of a call, with the device's queue empty on both sides."""
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    wait()
    start = time.perf_counter()
    result = run()
    wait()
    return result, time.perf_counter() - start


def on_both(what, run, device):
    """Results of ``run(device)`` on the CPU and on the device; prints how much faster this is, and its peak memory."""
    results, seconds = [], []
    for place in ("cpu", device):
        if place.startswith("cuda"):
            run(place)  # kernels are chosen in the first call
        with peak_memory(place) as peak:
            result, took = timed(lambda place=place: run(place), place)
        results.append(result)
        seconds.append(took)
    times = f"{seconds[0] / seconds[1]:.1f} times as fast as the CPU ({seconds[0]:.2f} s)"
    print(f"       {what}: {times}, peak {peak.bytes / 2**20:.0f} MiB", flush=True)
    return results


def relative(one, two):
    """Largest difference of two arrays over the largest entry of the first."""
    one, two = (torch.as_tensor(values).detach().cpu().double() for values in (one, two))
    return float((one - two).abs().max() / one.abs().max())


def check_posterior(device, small):
    """Mean and marginal of the posteriors that a U^2-Net reads off images."""
    side, count, width = (16, 24, "tiny") if small else (64, 512, "full")
    grid, rng = Grid(BOX, (side, side)), np.random.default_rng(0)
    images = rng.integers(0, 256, (count, side, side, 1), dtype="u1")
    t = rng.uniform(-1, 1, (count, 2))
    config = NetworkConfig(
        size=width, extent=grid.extent, shape=grid.shape, bundle=4, neighbours=8, sigma=(0.05, 0.05), mean=(0.5,),
        deviation=(0.2,), samples=count, held_out=0.2, seed=0, training={},
    )  # fmt: skip
    torch.manual_seed(0)
    weights = U2Net(config.channels, size=width).state_dict()

    def read(place):
        net = U2Net(config.channels, size=width)
        net.load_state_dict(weights)
        net = net.to(place).to(memory_format=torch.channels_last).eval()
        return network_posterior(PosteriorNetwork(net, config), images, t, draws=1, rows=0, batch_size=64)

    # Convolutions of a GPU round to ten bits unless they are told not to.
    with torch.backends.cudnn.flags(allow_tf32=False):
        ours, theirs = on_both("posterior of a U^2-Net", read, device)
    spread = ours.mean.std()
    report("posterior, mean over its spread", np.abs(ours.mean - theirs.mean).max() / spread, 1e-3)
    report("posterior, marginal", relative(ours.marginal, theirs.marginal), 1e-3)


def check_fits(device, small):
    """The convex fits of a free energy, each with its default settings."""
    grid = Grid(BOX, (12, 12) if small else (64, 64))
    posterior, rows = exact_posterior(POTENTIALS["three_phases_soft"], grid, resolution=20.0)
    statistics = np.random.default_rng(0).normal(grid.points, 0.3)
    points, settings = torch.from_numpy(grid.points), defaults("study")["free_energy"]
    settings |= {"splines": [8, 8]} if small else {}

    def of_settings(fit):
        return lambda place: fit(
            FitData(posterior, grid, lambda sources: rows[sources], device=place), settings
        )

    fits = {name: of_settings(fit) for name, fit in FITS.items() if name != "mlp"}
    fits["reweighting"] = lambda place: fit_reweighted(statistics, grid.points, device=place)
    for name, fit in fits.items():
        ours, theirs = on_both(f"fit {name}", fit, device)
        for quantity in ("value", "gradient", "hessian"):
            one, two = (getattr(found, quantity)(points) for found in (ours, theirs))
            report(f"fit {name}, {quantity}", relative(one, two), 1e-8)


def check_geodesics(device, small):
    """Geodesics on a metric with three ridges."""
    nodes, count, doublings = (16, 2, 0) if small else (64, 100, 2)
    grid = Grid(BOX, (nodes, nodes))
    field = POTENTIALS["three_phases_soft"].hessian(torch.from_numpy(grid.points)).numpy()
    metric = GriddedMetric(field.reshape(*grid.shape, 2, 2) + 1e-2 * np.eye(2), grid)
    ends = torch.from_numpy(np.random.default_rng(0).uniform(-0.9, 0.9, (2, count, 2)))
    options = {"points": 30 if small else 90, "doublings": doublings}
    ours, theirs = on_both(
        f"{count} geodesics", lambda place: geodesics(metric, *ends.to(place), **options), device
    )
    report("geodesics, length", relative(ours.length, theirs.length), 1e-9)
    # Newton stops within 1e-7 of a minimum that is flat along the curve.
    report("geodesics, points", relative(ours.points, theirs.points), 1e-6)
    report("geodesics certified on one alone", float((ours.certified != theirs.certified.cpu()).sum()), 0)


def small_system(folder, device, *, dtype="float32", batch_size=32):
    """The small Stable Diffusion of the tests on a slice."""
    from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
    from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
    from hessgeo.systems.slices import LatentSlice, random_anchors

    description = describe_checkpoint(folder)
    denoiser = load_denoiser(
        description, steps=10, prompt=PROMPT, guidance=GUIDANCE, dtype=dtype, device=device
    )
    plane = LatentSlice(random_anchors(0, description.latent_shape), EXTENT)
    return DiffusionSystem(denoiser, plane, batch_size=batch_size)


def check_sampling(folder, device, small):
    """The same images from both devices, in every precision and in batches of another size."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from checkpoints import small_stable_diffusion

    small_stable_diffusion(folder / "small")
    index = np.arange(8 if small else 96)
    t = np.random.default_rng(0).uniform(*EXTENT[0], (len(index), 2))
    images, seconds = {}, {}
    for name, place, options in (
        ("cpu", "cpu", {}),
        ("device", device, {}),
        ("batches", device, {"batch_size": 13}),
        ("float16", device, {"dtype": "float16"}),
        ("bfloat16", device, {"dtype": "bfloat16"}),
    ):
        if name == "float16" and not place.startswith("cuda"):
            continue  # what processors cannot do
        system = small_system(folder / "small", place, **options)
        system.sample(t[:32], index[:32], 0)
        with peak_memory(place) as peak:
            run = lambda system=system: system.sample(t, index, 0).astype(int)  # noqa: E731
            images[name], seconds[name] = timed(run, place)
        print(f"       images, {name}: {seconds[name]:.2f} s, peak {peak.bytes / 2**20:.0f} MiB", flush=True)
    scale = images["cpu"].std()
    for name, tolerance in (("device", 2e-2), ("batches", 2e-2), ("float16", 0.1), ("bfloat16", 0.5)):
        if name not in images:
            continue
        reference = images["device" if name == "batches" else "cpu"]
        report(
            f"images, {name}, rms over spread",
            np.sqrt(((images[name] - reference) ** 2).mean()) / scale,
            tolerance,
        )
    print(f"       sampling: {seconds['cpu'] / seconds['device']:.1f} times as fast as the CPU", flush=True)


def write_stable_diffusion(folder):
    """Stable Diffusion 1 of the published shapes with random weights, in half precision, as a pipeline folder."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from hessgeo.systems.diffusion.architectures import ARCHITECTURES, write_clip_tokenizer

    parts = ARCHITECTURES["stable-diffusion-1"]
    write_clip_tokenizer(folder / "tokenizer")
    with torch.device("cuda"):
        models = {
            "unet": UNet2DConditionModel.from_config(parts["unet"]),
            "vae": AutoencoderKL.from_config(parts["vae"]),
            "text_encoder": CLIPTextModel(CLIPTextConfig(**parts["text_encoder"])),
        }
    StableDiffusionPipeline(
        **{name: model.half() for name, model in models.items()},
        tokenizer=CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True),
        scheduler=DDIMScheduler.from_config(parts["scheduler"]),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


def measure_paper_size(folder, steps):
    """Images an hour at the paper's size, and the batch that fits."""
    from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
    from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
    from hessgeo.systems.memory import fit_batch_size
    from hessgeo.systems.slices import LatentSlice, random_anchors

    write_stable_diffusion(folder / "large")
    torch.cuda.empty_cache()
    description = describe_checkpoint(folder / "large")
    options = {"steps": steps, "prompt": PROMPT, "guidance": GUIDANCE, "dtype": "float16", "device": "cuda"}
    denoiser, seconds = timed(lambda: load_denoiser(description, **options), "cuda")
    print(f"       Stable Diffusion 1, random weights: loaded in {seconds:.1f} s", flush=True)
    plane = LatentSlice(random_anchors(0, description.latent_shape), EXTENT)
    system = DiffusionSystem(denoiser, plane, batch_size=1)
    free = torch.cuda.mem_get_info()[0]
    batch, seconds = timed(lambda: fit_batch_size(system.trial, device="cuda", limit=64), "cuda")
    print(
        f"       batch_size auto: {batch} images of {free / 2**30:.0f} GiB free, found in {seconds:.1f} s",
        flush=True,
    )
    t = np.random.default_rng(0).uniform(*EXTENT[0], (64, 2))
    for size in sorted({1, 8, batch}):
        system.batch_size, count = size, max(8, size)
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        try:
            run = lambda count=count: system.sample(t[:count], np.arange(count), 0)  # noqa: E731
            _, seconds = timed(run, "cuda")
        except FloatingPointError as error:
            print(f"       {error}", flush=True)
            continue
        peak = (torch.cuda.max_memory_allocated() - before) / 2**30
        rate = 3600 * count / seconds
        print(
            f"       batches of {size:>2}: {rate:7.0f} images an hour at {steps} steps, {peak:.1f} GiB",
            flush=True,
        )
        if size == batch:
            report("memory of the batch found, over what was free", peak * 2**30 / free, 1.0)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="the checks alone: all parts but size")
    parser.add_argument("--small", action="store_true", help="small sizes, whose speed-ups say nothing")
    parser.add_argument("--device", default="cuda", help="that is compared with the CPU")
    parser.add_argument("--steps", type=int, default=20, help="of the sampler at the paper's size; paper: 50")
    options = parser.parse_args(arguments)
    device, parts = options.device, options.parts or PARTS[: 4 if options.quick or options.small else 5]
    if unknown := set(parts) - set(PARTS):
        parser.error(f"parts: {', '.join(sorted(unknown))}: must be of {', '.join(PARTS)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        print("torch finds no GPU here: nothing to measure")
        return
    card = torch.cuda.get_device_name() if device.startswith("cuda") else device
    print(json.dumps({"card": card, "torch": torch.__version__, "cpu threads": torch.get_num_threads()}))
    FAILED.clear()
    ROWS.clear()
    for name, check in (("posterior", check_posterior), ("fits", check_fits), ("geodesics", check_geodesics)):
        if name in parts:
            check(device, options.small)
    if {"sampling", "size"} & set(parts) and importlib.util.find_spec("diffusers") is None:
        print("       diffusers is not installed: sampling is left out")
    else:
        with tempfile.TemporaryDirectory() as place:
            if "sampling" in parts:
                check_sampling(Path(place), device, options.small)
            if "size" in parts and device.startswith("cuda"):
                measure_paper_size(Path(place), options.steps)
    if device.startswith("cuda") and not options.small:
        record(ROWS)  # of the CPU beside itself there is nothing to tell
    if FAILED:
        sys.exit(f"{len(FAILED)} checks failed: {'; '.join(FAILED)}")


if __name__ == "__main__":
    main()
