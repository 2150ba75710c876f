"""What a GPU changes: the numbers it must not, the times and the memory it does. At most four minutes.

    python benchmarks/gpu.py            # checks against the CPU, speed-ups, peak memory, the paper's size
    python benchmarks/gpu.py --quick    # the checks alone

- *fits*: the spline fit and the reweighting fit, in double precision on both: free energy, gradient and metric.
- *sampling*: images of a small Stable Diffusion (random weights) in single and half precision, and the same images
  in batches of another size.
- *batches*: the number of images that ``batch_size: auto`` finds is run, and its memory held against what was free.
- *the paper's size*: Stable Diffusion 1 at 512 x 512 with random weights, guidance on, half precision: images an hour.

Where torch finds no GPU it says so and ends; what needs diffusers is left out, and said, where it is not installed.
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

from hessgeo.free_energies.reweighting import fit_reweighted
from hessgeo.free_energies.spline import fit_spline
from hessgeo.grids import Grid

BOX, EXTENT = ((-1.0, 1.0), (-1.0, 1.0)), ((-1.0, 2.0), (-1.0, 2.0))
PROMPT, GUIDANCE = "a photograph of a cat", 5.0
DEVICES = ("cpu", "cuda")
FAILED = []


def report(what, difference, tolerance):
    """Print a check, and remember it if it failed."""
    good = difference <= tolerance
    print(f"{'ok    ' if good else 'FAILED'} {what}: {difference:.2e} (at most {tolerance:.0e})", flush=True)
    if not good:
        FAILED.append(what)


def timed(run):
    """Result and seconds of a call, with the device's queue empty on both sides."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    result = run()
    torch.cuda.synchronize()
    return result, time.perf_counter() - start


def differences(first, second, points):
    """Largest difference of value, gradient and metric of two fits, relative to the largest entry of each."""
    for name in ("value", "gradient", "hessian"):
        one, two = (getattr(fit, name)(points).cpu() for fit in (first, second))
        yield name, float((one - two).abs().max() / one.abs().max())


def check_fits():
    """The fits of a free energy on both devices."""
    name, grid = next(iter(POTENTIALS)), Grid(BOX, (64, 64))
    posterior, _ = exact_posterior(POTENTIALS[name], grid, resolution=20.0)
    statistics = np.random.default_rng(0).normal(grid.points, 0.3)
    points = torch.from_numpy(grid.points)
    fits = {
        "spline": lambda device: fit_spline(posterior, grid, splines=(24, 24), device=device),
        "reweighting": lambda device: fit_reweighted(statistics, grid.points, device=device),
    }
    for kind, fit in fits.items():
        results, seconds = {}, {}
        for device in DEVICES:
            timed(lambda fit=fit, device=device: fit(device))  # kernels are chosen in the first call
            results[device], seconds[device] = timed(lambda fit=fit, device=device: fit(device))
        for quantity, difference in differences(results["cpu"], results["cuda"], points):
            report(f"{kind} fit, {quantity}", difference, 1e-8)
        print(
            f"       {kind} fit: {seconds['cpu'] / seconds['cuda']:.1f} times faster than the CPU", flush=True
        )


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


def check_sampling(folder):
    """The same images from both devices, in every precision and in batches of another size."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    from checkpoints import small_stable_diffusion

    small_stable_diffusion(folder / "small")
    index = np.arange(96)
    t = np.random.default_rng(0).uniform(*EXTENT[0], (len(index), 2))
    images, seconds = {}, {}
    for name, device, options in (
        ("cpu", "cpu", {}),
        ("cuda", "cuda", {}),
        ("batches", "cuda", {"batch_size": 13}),
        ("float16", "cuda", {"dtype": "float16"}),
        ("bfloat16", "cuda", {"dtype": "bfloat16"}),
    ):
        system = small_system(folder / "small", device, **options)
        system.sample(t[:32], index[:32], 0)
        images[name], seconds[name] = timed(lambda system=system: system.sample(t, index, 0).astype(int))
    scale = images["cpu"].std()
    for name, tolerance in (("cuda", 2e-2), ("batches", 2e-2), ("float16", 0.1), ("bfloat16", 0.5)):
        reference = images["cuda" if name == "batches" else "cpu"]
        report(
            f"images, {name}, rms over spread",
            np.sqrt(((images[name] - reference) ** 2).mean()) / scale,
            tolerance,
        )
    print(f"       sampling: {seconds['cpu'] / seconds['cuda']:.1f} times faster than the CPU", flush=True)


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
    denoiser, seconds = timed(lambda: load_denoiser(description, **options))
    print(f"       Stable Diffusion 1, random weights: loaded in {seconds:.1f} s", flush=True)
    plane = LatentSlice(random_anchors(0, description.latent_shape), EXTENT)
    system = DiffusionSystem(denoiser, plane, batch_size=1)
    free = torch.cuda.mem_get_info()[0]
    batch, seconds = timed(lambda: fit_batch_size(system.trial, device="cuda", limit=64))
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
            _, seconds = timed(lambda count=count: system.sample(t[:count], np.arange(count), 0))
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
    parser.add_argument("--quick", action="store_true", help="the checks alone")
    parser.add_argument("--steps", type=int, default=20, help="of the sampler at the paper's size; paper: 50")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        print("torch finds no GPU here: nothing to measure")
        return
    about = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "cpu threads": torch.get_num_threads(),
    }
    print(json.dumps(about), flush=True)
    check_fits()
    if importlib.util.find_spec("diffusers") is None:
        print("       diffusers is not installed: sampling is left out")
    else:
        with tempfile.TemporaryDirectory() as place:
            check_sampling(Path(place))
            if not options.quick:
                measure_paper_size(Path(place), options.steps)
    if FAILED:
        sys.exit(f"{len(FAILED)} checks failed: {'; '.join(FAILED)}")


if __name__ == "__main__":
    main()
