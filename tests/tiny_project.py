"""A project folder for stage tests: params.yaml, three prompts, and what the stages before the tested one leave."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

PARAMS = """\
model: tiny
device: cpu
baseline: fp32
models:
  tiny: {label: Tiny model, source: folder, path: data/tiny}
architectures:
  tiny: {label: Tiny model, path: data/architecture}
variants:
  fp32: {label: FP32, backend: torch, weights: float32}
  bf16: {label: BF16, backend: torch, weights: bfloat16}
  int8-simulated: {label: INT8 Simulated, backend: torch, weights: int8, simulated: true}
prompts: {file: data/prompts.csv, sets: [study]}
generation: {steps: 3, guidance_scale: 7.5}
calibration: {file: data/calibration.csv, images: 2, denoiser_calls: 2, seed: 0}
benchmark:
  {prompt: animal, restarts: 2, warmup: 0, pairs: 2, precision: 0.03, limit_s: 1, longest_image_s: 60, batch_sizes: [2]}
quality: {trajectory_prompts: 1, floor_prompts: 2, floor_seeds: 3, resamples: 200, seed: 0,
  margins: {psnr_db: 1, ssim: 0.01, clip_score: 1}, fid_images: 10000, perceptual_prompts: 2}
sensitivity:
  images: 2
  window: 2
  formats:
    fp16: {label: FP16, weights: float16}
    int8: {label: INT8, weights: int8, activations: int8}
scenarios: {cpu: {label: A CPU, device: cpu, ssim_threshold: 0.9, minimise: time_s}}
main_scenario: cpu
cost: {currency: USD, price_per_hour: 1, utilisation: 0.5}
report: {title: Test, author: "", languages: [en]}
"""
PROMPTS = {"landscape": ("A hill", 42), "animal": ("A cat", 43), "fantasy": ("A robot", 44)}
FINGERPRINT = "0123456789ab"
OBSTACLES = {"fp32": None, "bf16": None, "int8-simulated": None}


def write_settings(folder: Path, variants: tuple[str, ...] = tuple(OBSTACLES)) -> None:
    """params.yaml with these variants, the prompts file and the description of the machine."""
    (folder / "data").mkdir(parents=True)
    others = tuple(f"  {name}: {{label" for name in OBSTACLES if name not in variants)
    lines = [line for line in PARAMS.splitlines(keepends=True) if not (others and line.startswith(others))]
    (folder / "params.yaml").write_text("".join(lines), encoding="utf-8")
    rows = [f"{id},{text},{id},simple,{seed},study" for id, (text, seed) in PROMPTS.items()]
    (folder / "data/prompts.csv").write_text(
        "\n".join(["id,prompt,kind,complexity,seed,set", *rows, ""]), encoding="utf-8"
    )
    write_json(folder / "reports/environment.json", {"fingerprint": FINGERPRINT, "threads": 1, "obstacles": OBSTACLES})


def choose_architecture(folder: Path, model: Path) -> Path:
    """Make the configurations of `model`, without its weights, the chosen model of the project; their folder."""
    target = folder / "data/architecture"
    shutil.copytree(model, target, ignore=shutil.ignore_patterns("*.safetensors"))
    entry = "  tiny: {label: Tiny architecture, source: architecture, path: data/architecture, seed: 0}"
    text = (folder / "params.yaml").read_text(encoding="utf-8")
    old = "  tiny: {label: Tiny model, source: folder, path: data/tiny}"
    assert old in text
    (folder / "params.yaml").write_text(text.replace(old, entry), encoding="utf-8")
    return target


def write_models(folder: Path, base: Path, variants: tuple[str, ...]) -> None:
    """The model folders of `variants` made from `base`, and the noise of every prompt."""
    from safetensors.torch import save_file as save_torch_file

    from stages.lib.formats import BACKENDS
    from stages.lib.generation.noise import initial_latents
    from stages.lib.project.params import load_params

    params = load_params(folder / "params.yaml")
    for name in variants:
        (folder / "data/runs/tiny/models" / name).mkdir(parents=True)
        variant = params.variant(name)
        BACKENDS[variant.backend].load_module().quantize(base, variant, folder / "data/runs/tiny/models" / name)
    noise = {id: initial_latents((4, 16, 16), seed)[0] for id, (_, seed) in PROMPTS.items()}
    (folder / "data/runs/tiny").mkdir(parents=True, exist_ok=True)
    save_torch_file(noise, folder / "data/runs/tiny/noise.safetensors")


def images_of(offset: int) -> dict[str, np.ndarray]:
    """One smooth image, 24 x 32, per prompt, each `offset` brighter than the image of offset 0."""
    rows, columns = np.mgrid[0:24, 0:32]
    return {
        id: (np.stack([100 + 40 * np.sin(rows / 5 + shift + columns / 9) for shift in range(3)], 2) + offset).astype(
            "u1"
        )
        for id, (_, shift) in PROMPTS.items()
    }


def write_images(folder: Path, images: dict[str, np.ndarray], **changes: Any) -> None:
    """A folder such as `generate` leaves. `changes` replaces keys of the first image's entry in images.json."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = []
    for id, rgb in images.items():
        Image.fromarray(rgb).save(folder / f"{id}.png")
        digest = hashlib.sha256(rgb.tobytes()).hexdigest()
        text, seed = PROMPTS[id]
        entries.append(
            {"id": id, "kind": id, "prompt": text, "seed": seed, "sha256": digest, "flagged": id == "fantasy"}
            | {"safety_margin": 0.1 if id == "fantasy" else -0.2, "safety_margin_reason": None}
        )
    entries[0].update(changes)
    listing = {"variant": folder.name, "device": "cpu", "compute": "float32", "threads": 1, "per_image": entries}
    write_json(folder / "images.json", listing)
    latents = {id: np.full((2, 4, 3, 4), rgb.mean() / 99, np.float32) for id, rgb in list(images.items())[:1]}
    save_file(latents, folder / "latents.safetensors")


def write_json(path: Path, value: Any) -> None:
    """Plain JSON, so that what the tested stage reads does not pass through its own writer."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_json(path: Path, **changes: Any) -> None:
    """Replace top-level keys of a JSON file; None removes the key."""
    value = json.loads(path.read_text(encoding="utf-8")) | changes
    write_json(path, {key: item for key, item in value.items() if item is not None})


def bytes_of(folder: Path) -> dict[str, bytes]:
    """Each file of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
