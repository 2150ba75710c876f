"""Images a second of a Stable Diffusion pipeline: one at a time, in batches, and as a shard of a study.

Three ways to the same images, from the same latents, with the same prompt, guidance, scheduler and steps:

- *loop*: one image at a time, classifier-free guidance by concatenation, U-Net and scheduler step by step, then
  the decoder; each image is saved as a PNG and its array as .npy (as the published code of Lobashev et al. does);
- *stock*: the pipeline of ``diffusers``, called with a batch of latents; images as arrays in memory;
- *shard*: the diffusion system of this package, up to a written Zarr shard with its sidecar.

The model is the small Stable Diffusion of the tests, images of 16 x 16 by random weights; ``--width`` makes a larger
one. What a way adds is the share of its time outside the forward passes of U-Net, decoder and text encoder; it is
smaller the larger the model is, so that that of a small model is an upper bound. The ways take turns (the loop, then
stock, shard, shard, stock: a machine that grows slower favours none), ratios are those of one round, their median
with the extremes. Where others use the processor too, read the ratio of processor times, on one thread; with a GPU
that of wall times.

At the end the memory that sampling takes at its peak, for few images and for eight times as many.

    python benchmarks/generation.py                                        # some minutes on two cores
    python benchmarks/generation.py --width 64 --images 16 --batch 8      # a larger model, images of 128 x 128
    python benchmarks/generation.py --checkpoint /models/sd15 --steps 50 --images 64 --batch 16   # your own
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import transformers
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.utils import logging
from PIL import Image
from record import Row, record, record_table
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from hessgeo import store
from hessgeo.systems.diffusion.architectures import write_clip_tokenizer
from hessgeo.systems.diffusion.checkpoints import describe_checkpoint
from hessgeo.systems.diffusion.system import DiffusionSystem, load_denoiser
from hessgeo.systems.memory import peak_memory
from hessgeo.systems.slices import LatentSlice, random_anchors

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from checkpoints import small_stable_diffusion

ROUND = ("loop", "stock", "shard", "shard", "stock")
PROMPT, GUIDANCE, EXTENT = "a photograph of a cat", 5.0, ((-1.0, 2.0), (-1.0, 2.0))
NOISE = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}


def write_checkpoint(folder, *, latent, width):
    """A pipeline folder of random weights: images of eight times the latent's side, three levels in the U-Net."""
    torch.manual_seed(0)
    write_clip_tokenizer(folder / "tokenizer", merges=200)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=4,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=2,  # makes transformers look for the largest number, as CLIP does
    )
    unet = UNet2DConditionModel(
        sample_size=latent,
        block_out_channels=(width, 2 * width, 4 * width),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=width,
        attention_head_dim=8,
        norm_num_groups=16,
    )
    vae = AutoencoderKL(
        sample_size=8 * latent,
        latent_channels=4,
        block_out_channels=(width // 2,) * 4,
        layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=16,
    )
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=CLIPTextModel(text),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(**NOISE, clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)


class Stopwatch:
    """Time spent in the models' forward passes, the whole of it, and how often they are called."""

    def __init__(self, device):
        self.device, self.inside, self.depth = device, 0.0, 0

    def now(self):
        """Seconds, once the device has done what it was given."""
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @contextmanager
    def watch(self, *methods):
        """Count the time in ``(object, name of a method)`` for as long as the block runs."""
        self.inside = 0.0
        for owner, name in methods:
            setattr(owner, name, self._timed(getattr(owner, name)))
        try:
            yield
        finally:
            for owner, name in methods:
                delattr(owner, name)  # the method of the class is there again

    def _timed(self, function):
        def timed(*arguments, **options):
            start, outer = self.now(), self.depth == 0
            self.depth += 1
            try:
                return function(*arguments, **options)
            finally:
                self.depth -= 1
                self.inside += (self.now() - start) if outer else 0.0

        return timed


def parts(pipeline):
    """What is called of a pipeline's models."""
    methods = [(pipeline.unet, "forward"), (pipeline.vae, "decode")]
    return [*methods, (pipeline.text_encoder, "forward")] if pipeline.text_encoder is not None else methods


@torch.inference_mode()
def loop(pipeline, latents, folder, options):
    """One image at a time, guidance by concatenation, every image saved twice."""
    scheduler, device = pipeline.scheduler, pipeline.device
    positive, negative = pipeline.encode_prompt(PROMPT, device, 1, True)
    text = torch.cat([negative, positive])
    images = []
    for k, latent in enumerate(latents):
        scheduler.set_timesteps(options.steps, device=device)
        x = latent[None].to(device)
        for moment in scheduler.timesteps:
            both = scheduler.scale_model_input(torch.cat([x, x]), moment)
            without, with_prompt = pipeline.unet(both, moment, encoder_hidden_states=text).sample.chunk(2)
            output = without + GUIDANCE * (with_prompt - without)
            x = scheduler.step(output, moment, x).prev_sample
        decoded = pipeline.vae.decode(x / pipeline.vae.config.scaling_factor).sample
        values = (decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).cpu().numpy()
        images.append((255 * values).round().astype("u1"))
        Image.fromarray(images[-1]).save(folder / f"{k}.png")
        np.save(folder / f"{k}.npy", images[-1])
    return np.stack(images)


def stock(pipeline, latents, folder, options):
    """The pipeline as it comes, a batch a call."""
    images = [
        pipeline(
            prompt=[PROMPT] * len(batch),
            latents=batch,
            num_inference_steps=options.steps,
            guidance_scale=GUIDANCE,
            output_type="np",
        ).images
        for batch in latents.split(options.batch)
    ]
    return (255 * np.concatenate(images)).round().astype("u1")


def shard(system, points, folder, options):
    """A store with all samples in one shard, written and vouched for."""
    path = folder / "study" / "samples" / "layout.zarr"
    write_samples(system, points, path, len(points))
    return store.read_array(path, "image")


def write_samples(system, points, path, size):
    """A store of samples in shards of a size, one after another."""
    arrays = {"image": (system.sample_shape, "u1")}
    store.create_samples(path, points=points, arrays=arrays, shard=size, attributes={})
    for number, start in enumerate(range(0, len(points), size)):
        rows = np.arange(start, start + size)
        store.write_shard(path, "image", number, system.sample(points[rows], rows, 0), about={})


def measure_memory(system, device, folder, options):
    """Bytes at the peak for a batch of images and for eight of them, in shards of one batch each."""
    peaks = {}
    for images in (options.batch, 8 * options.batch):
        points = uniform(images)
        with tempfile.TemporaryDirectory(dir=folder) as place, peak_memory(device) as peak:
            write_samples(system, points, Path(place) / "study" / "samples" / "layout.zarr", options.batch)
        peaks[images] = peak.bytes
    return peaks


def uniform(count):
    return np.random.default_rng(0).uniform(*EXTENT[0], (count, 2))


def load_system(options, description, device):
    """The diffusion system of this package on a slice."""
    denoiser = load_denoiser(
        description,
        steps=options.steps,
        prompt=PROMPT,
        guidance=GUIDANCE,
        decode_batch_size=options.decode,
        device=device,
    )
    plane = LatentSlice(random_anchors(0, description.latent_shape), EXTENT)
    return DiffusionSystem(denoiser, plane, batch_size=options.batch)


def measure(options, folder):
    """Seconds of every way in every round, its share outside the models, differences of pixels, and memory."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    description = describe_checkpoint(options.checkpoint or folder / "checkpoint")
    system = load_system(options, description, device)
    pipeline = StableDiffusionPipeline.from_pretrained(
        description.path, local_files_only=True, use_safetensors=True, safety_checker=None
    ).to(device)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    points = uniform(options.images)
    latents = torch.from_numpy(system.latent_slice.latents(points)).float()
    ways = {
        "loop": (loop, pipeline, latents, parts(pipeline)),
        "stock": (stock, pipeline, latents, parts(pipeline)),
        "shard": (shard, system, points, parts(system.denoiser.pipeline)),
    }
    watch, rows, first = Stopwatch(device), [], {}
    # Before the clock runs: every way once, on as many images as it takes at once.
    for name, (run, model, start, _) in ways.items():
        with tempfile.TemporaryDirectory(dir=folder) as place:
            run(model, start[: 1 if name == "loop" else options.batch], Path(place), options)
    for repeat in tqdm(range(options.repeats), desc="repeats", leave=False):
        for name in ROUND:
            run, model, start, methods = ways[name]
            with tempfile.TemporaryDirectory(dir=folder) as place, watch.watch(*methods):
                begin, processor = watch.now(), time.process_time()
                images = run(model, start, Path(place), options)
                seconds, processor = watch.now() - begin, time.process_time() - processor
            first.setdefault(name, images)
            row = {"repeat": repeat, "way": name, "seconds": seconds, "processor": processor}
            rows.append({**row, "outside": 1 - watch.inside / seconds})
    difference = {
        name: int(np.abs(images.astype(int) - first["loop"]).max()) for name, images in first.items()
    }
    memory = measure_memory(system, device, folder, options)
    return pd.DataFrame(rows), difference, float(first["loop"].std()), memory


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, help="folder of a Stable Diffusion pipeline; else random")
    parser.add_argument("--width", type=int, help="channels of a larger model, a multiple of 32")
    parser.add_argument(
        "--latent", type=int, default=16, help="side of its latents, an eighth of its images'"
    )
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64, help="images at once, of stock and shard")
    parser.add_argument("--decode", type=int, default=8, help="images decoded at once, of shard")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    for library in (logging, transformers.utils.logging):
        library.disable_progress_bar()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.checkpoint is None and options.width is None:
            small_stable_diffusion(folder / "checkpoint")
        elif options.checkpoint is None:
            write_checkpoint(folder / "checkpoint", latent=options.latent, width=options.width)
        table, difference, spread, memory = measure(options, folder)
    seconds, processor = (
        table.pivot_table(index="repeat", columns="way", values=name) for name in ("seconds", "processor")
    )
    outside = table.groupby("way")["outside"].median()
    print(
        f"{options.images} images, {options.steps} steps, batches of {options.batch}, {options.threads} threads"
    )
    for name in ("loop", "stock", "shard"):
        print(
            f"{name:<6} {seconds[name].median() / options.images:8.3f} s an image, "
            f"{100 * outside[name]:5.2f} % outside the models, pixels differ from the loop's by at most "
            f"{difference[name]} (their deviation is {spread:.0f})"
        )
    for other in ("loop", "stock"):
        for clock, times in (("wall", seconds), ("processor", processor)):
            ratio = times[other] / times["shard"]
            print(f"{other} / shard, {clock}: {ratio.median():.2f} ({ratio.min():.2f} to {ratio.max():.2f})")
    peaks = ", ".join(f"{peak / 2**20:.0f} MiB for {images} images" for images, peak in memory.items())
    print(f"memory above that of the loaded model, in shards of {options.batch}: {peaks}")
    some = f"generation, {options.images} images, {options.steps} steps, {options.threads} threads"
    ways = table.groupby("way")[["seconds", "outside"]].agg(list).reset_index()
    some += f", width {options.width}" if options.width else ""
    record_table(some, ways, labels=["way"], units={"seconds": "s"})
    an_image = {way: (seconds[way] / options.images).tolist() for way in seconds}
    record(
        Row(f"{some}: time an image beside the {other}", an_image["shard"], "s", other, an_image[other])
        for other in ("loop", "stock")
    )
    return table


if __name__ == "__main__":
    main()
