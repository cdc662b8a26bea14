"""A complete results folder with invented numbers, in the form that the stages write: input for report tests."""

import hashlib
import json
import random
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

from stages.lib.project.params import variant_of
from stages.lib.results.speeds import own_ratio
from stages.lib.results.summary import definition
from tests.conftest import PROJECT
from tests.quality_results import quality_figures, write_floor
from tests.sensitivity_folder import sensitivity
from tests.timings import calls_of

COMPONENTS = {"unet": 5_600_000, "vae": 1_900_000, "text_encoder": 900_000, "safety_checker": 500_000}
BYTES = {"float32": 4.0, "float16": 2.0, "bfloat16": 2.0, "int8": 1.0, "int6": 0.75, "int4": 0.5}
SLOWNESS = {"fp32": 1.0, "fp16": 1.17, "bf16": 0.7, "int8-cpu": 0.83}
NOISE = {"fp32": 0, "fp16": 0.3, "bf16": 3, "int8-cpu": 8, "int8-simulated": 5}
PROMPTS = [
    ("landscape", "A beautiful sunset over mountains, digital art", "landscape", "medium", 42, "study"),
    ("animal", "A cute cat sitting on a windowsill", "animal", "low", 43, "study"),
    ("fantasy", "An astronaut riding a horse on Mars", "fantasy", "high", 44, "study"),
    ("beach", "a beach at sunset, watercolor", "landscape", "low", 45, "extended"),
    ("robot", "a shiny robot in the desert at night", "machine", "medium", 46, "extended"),
]


def write_project(folder: Path, variants: dict[str, dict], generate=None, prompts=PROMPTS, side: int = 64) -> None:
    """Fill `folder` with params.yaml, prompts and results of `variants` (entries as in params.yaml)."""
    from ruamel.yaml import YAML

    params = YAML(typ="safe", pure=True).load((PROJECT / "params.yaml").read_text(encoding="utf-8"))
    params["variants"] = variants
    (folder / "data").mkdir(parents=True)
    (folder / "params.yaml").write_text(json.dumps(params), encoding="utf-8")
    lines = ["id,prompt,kind,complexity,seed,set"]
    lines += [f'{i},"{text}",{kind},{level},{seed},{group}' for i, text, kind, level, seed, group in prompts]
    (folder / "data/prompts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.copytree(PROJECT / "data/study", folder / "data/study")
    _write_base(folder / "data/runs/embedded/models/base/unet")
    images = {row[0]: (generate or _gradient)(number, side) for number, row in enumerate(prompts)}
    generated = {name: _write_images(folder, name, images, prompts) for name in variants}
    for name, variant in variants.items():
        _write(folder / f"reports/embedded/size/{name}.json", _size(name, variant))
        _write(folder / f"reports/embedded/timing/{name}.json", _timing(name, variant))
        _write(folder / f"reports/embedded/quality/{name}.json", _quality(name, variant, generated, prompts))
        _write(
            folder / f"reports/embedded/appearance/{name}.json",
            _appearance(folder / "data/runs/embedded/images", name, variant),
        )
    write_floor(
        folder / "reports/embedded/floor.json",
        json.loads((folder / "reports/embedded/quality/fp32.json").read_text("utf-8")),
    )
    for name, found in sensitivity().items():
        _write(folder / f"reports/embedded/sensitivity/{name}.json", found)
    _write(folder / "reports/environment.json", _ENVIRONMENT)
    _write(folder / "reports/architectures.json", _ARCHITECTURES)
    _write(folder / "reports/embedded/controls.json", _CONTROLS)
    summary = _summary(folder, variants, generated)
    _write(folder / "reports/embedded/pairs.json", {"pairs": summary["pairs"]})
    summary["pairs"] = [{key: pair[key] for key in pair if key != "per_image"} for pair in summary["pairs"]]
    _write(folder / "reports/embedded/summary.json", summary)


def write_machine(folder: Path, fingerprint: str, variants: dict[str, dict], commit: str) -> Path:
    """A machine's folder in the results folder `folder`, as tools.measure_machine writes it."""

    target = folder / "reports/machines" / fingerprint
    machine = _ENVIRONMENT["machine"] | {"gpu": "Invented GPU", "gpu_memory_gib": 80}
    _write(target / "environment.json", _ENVIRONMENT | {"fingerprint": fingerprint, "machine": machine})
    _write(target / "asked.json", {"models": {"embedded": list(variants)}, "failed": {}})
    baseline = variant_of(name="fp32", **variants["fp32"]).model_dump(mode="json", exclude_unset=True)
    for name, variant in variants.items():
        quality = folder / f"reports/embedded/quality/{name}.json"
        origin = {
            "model_label": "Embedded",
            "variant": variant_of(name=name, **variant).model_dump(mode="json", exclude_unset=True),
            "baseline": baseline,
            "commit": commit,
        }
        _write(target / f"embedded/{name}/size.json", _size(name, variant))
        _write(target / f"embedded/{name}/timing.json", _timing(name, variant) | {"fingerprint": fingerprint})
        _write(target / f"embedded/{name}/quality.json", json.loads(quality.read_text(encoding="utf-8")))
        _write(target / f"embedded/{name}/origin.json", origin)
    return target


def write_model(folder: Path, key: str) -> Path:
    """The records of another model of params.yaml in `folder`, at first the same as those of the chosen one."""
    target = folder / "reports" / key
    for name in ("summary.json", "size", "timing", "quality", "sensitivity"):
        source = folder / "reports/embedded" / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy(source, target / name)
    return target


_ENVIRONMENT = {
    "fingerprint": "0123456789ab",
    "machine": {
        "cpu": "Invented CPU",
        "architecture": "x86_64",
        "physical_cores": 2,
        "logical_cores": 2,
        "memory_gib": 8,
        "instruction_sets": ["avx2", "avx512f", "avx512_bf16"],
        "gpu_compute_capability": None,
        "gpu": None,
        "gpu_memory_gib": None,
        "operating_system": "Invented Linux 1.0",
    },
    "software": {"python": "3.11.7", "torch": "2.13.0", "cuda": None, "diffusers": "0.42.1"},
    "threads": 2,
}


_SIZES = {"float32": 40.0, "float16": 20.0, "int8": 10.5}
_ARCHITECTURES = {
    "architectures": [
        {
            "architecture": "invented",
            "label": "Invented architecture",
            "parameters": 10_485_760,
            "theoretical_mib": _SIZES | {"int8": 10.0},
            "stored_mib": _SIZES,
            "components": [
                {
                    "component": "unet",
                    "network": "UNet2DConditionModel",
                    "parameters": 10_485_760,
                    "theoretical_mib": _SIZES | {"int8": 10.0},
                    "stored_mib": _SIZES,
                    "operators": [
                        {"operator": "Conv2d", "layers": 3, "parameters": 10_485_760, "share_percent": 100.0}
                    ],
                }
            ],
        }
    ]
}


_DIFFERENT = {"images": 3, "identical": 0, "psnr_db": 14.2, "ssim": 0.41, "rating": "poor", "reason": None}
_CONTROLS = {
    "baseline": "fp32",
    "measured": True,
    "controls": [
        {"name": "rerun", "expected": "identical", "caught": True, "refusal": None}
        | {"images": 3, "identical": 3, "psnr_db": None, "ssim": 1.0, "rating": "identical", "reason": None},
        {"name": "seeds", "expected": "different", "caught": True, "refusal": "other seeds", **_DIFFERENT},
        {"name": "prompts", "expected": "different", "caught": True, "refusal": "other prompts", **_DIFFERENT},
        {"name": "int2", "expected": "different", "caught": True, "refusal": None, **_DIFFERENT},
        {"name": "nan", "expected": "stopped", "caught": True, "message": "gives NaN", "reason": None},
    ],
    "stored": {"images": 3, "identical": 3, "psnr_db": None, "psnr_db_std": None, "ssim": 1.0, "ssim_std": 0.0},
    "limits": {"blur": {"measures": ["blur"], "weakest": 0.5, "tried": [0.3, 0.5], "images": 5}}
    | {"jpeg": {"measures": ["blockiness"], "weakest": None, "tried": [90, 10], "images": 5}},
}


def _appearance(images: Path, name: str, variant: dict) -> dict:
    from stages.lib.quality.image_sets import Eyes, ImageSets
    from stages.lib.quality.variant_reports import appearance_of

    names = {"variant": name, "label": variant["label"], "baseline": "fp32"}
    sets = ImageSets.read(images, ["fp32"] if name == "fp32" else ["fp32", name], "fp32", 0)
    seen, _ = sets.compare_batch(Eyes(None, None), sets.ids)
    return names | {"measured": True} | appearance_of(sets, name, seen, images)


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, allow_nan=False), encoding="utf-8")


def _write_base(folder: Path) -> None:
    folder.mkdir(parents=True)
    index = {"_class_name": "StableDiffusionPipeline", folder.name: ["diffusers", "UNet2DConditionModel"]}
    index |= {"scheduler": ["diffusers", "PNDMScheduler"], "safety_checker": ["stable_diffusion", "ASafetyChecker"]}
    _write(folder.parent / "model_index.json", index)
    _write(folder.parent / "scheduler/scheduler_config.json", {})
    (folder.parent / "safety_checker").mkdir()
    weight = np.random.default_rng(0).laplace(0, 0.03, (32, 16, 3, 3)).astype(np.float32)
    save_file({"mid_block.resnets.0.conv1.weight": weight}, folder / "diffusion_pytorch_model.safetensors")


def _gradient(number: int, side: int) -> np.ndarray:
    y, x = np.mgrid[0:side, 0:side] * (255 / side)
    return np.stack([x, y, np.full_like(x, 60 * number % 256)], axis=2).astype(np.uint8)


def _write_images(folder: Path, name: str, images: dict, prompts: list) -> dict[str, np.ndarray]:
    generated, rng = {}, np.random.default_rng(len(name))
    target = folder / "data/runs/embedded/images" / name
    target.mkdir(parents=True)
    for key, image in images.items():
        coarse = rng.normal(0, NOISE.get(name, 4), (8, 8, 3))
        blur = np.repeat(np.repeat(coarse, image.shape[0] // 8, axis=0), image.shape[1] // 8, axis=1)
        noisy = image + blur + rng.normal(0, NOISE.get(name, 4) / 2, image.shape)
        generated[key] = np.clip(np.round(noisy), 0, 255).astype(np.uint8)
        Image.fromarray(generated[key]).save(target / f"{key}.png")
    compute = "bfloat16" if name == "bf16" else "float32"
    rows = [
        {
            "id": row[0],
            "kind": row[2],
            "prompt": row[1],
            "seed": row[4],
            "sha256": hashlib.sha256(generated[row[0]].tobytes()).hexdigest(),
            "flagged": False,
            "safety_margin": -0.2,
            "safety_margin_reason": None,
        }
        for row in prompts
    ]
    _write(
        target / "images.json",
        {"variant": name, "device": "cpu", "compute": compute, "threads": 2, "per_image": rows},
    )
    return generated


def _size(name: str, variant: dict) -> dict:
    stored = "float16" if variant.get("simulated") else variant["weights"]
    rows, mib = [], 1024**2
    for component, count in COMPONENTS.items():
        theory = count * BYTES[variant["weights"]] / mib
        disk = count * (3.1 if variant["backend"] == "torch_dynamic" else BYTES[stored]) / mib * 1.002
        rows.append(
            {
                "component": component,
                "parameters": count,
                "parameters_left_out": 0,
                "theoretical_mib": theory,
                "disk_mib": disk,
                "runtime_mib": disk * (1.5 if variant["backend"] == "torch_dynamic" else 1),
                "memory_mib": disk * 1.01,
                "load_growth_mib": disk * 1.02,
                "weights_mib": disk - 0.02,
                "scales_mib": 0.0,
                "unquantized_mib": 0.01,
                "container_mib": 0.01,
                "shared_tensors": 1,
                "overhead_percent": 100 * (disk / theory - 1),
            }
        )
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "component"}
    total["overhead_percent"] = 100 * (total["disk_mib"] / total["theoretical_mib"] - 1)
    names = {"variant": name, "label": variant["label"], "backend": variant["backend"]}
    operators = [
        {
            "component": "unet",
            "operator": "Conv2d",
            "dtype": stored,
            "tensors": 40,
            "parameters": 4_000_000,
            "stored_mib": 15.0,
        }
    ]
    return {
        **names,
        "weights": variant["weights"],
        "stored_dtype": stored,
        **total,
        "components": rows,
        "operators": operators,
        "quantize_s": 1.5,
        "quantize_peak_mib": 800.0,
    }


def _measurement(name: str, samples: list[float], unit: str = "s") -> dict:
    from stages.lib.project.measurement import Measurement

    return {"name": name, **Measurement(unit, tuple(samples)).as_json()}


def _timing(name: str, variant: dict) -> dict:
    if variant.get("simulated"):
        return {
            "variant": name,
            "label": variant["label"],
            "measured": False,
            "reason": "simulated",
            "calls": [],
        }
    rng, slow = random.Random(name), SLOWNESS.get(name, 1.0)
    chance = 0.0 if name == "fp32" else 0.03
    ratios = [[rng.uniform(1 - chance, 1 + chance) / slow for _ in range(2)] for _ in range(3)]
    calls = calls_of(ratios, 0.88, name)
    base, own = ([call["latency_s"] for call in calls if call["role"] == role] for role in ("baseline", "variant"))
    ratio = own_ratio({"calls": calls})
    parts = {"text_encoder": (1, 0.006), "unet": (21, 0.033), "vae": (1, 0.09), "safety_checker": (1, 0.02)}
    parts["other"] = (1, 0.004)
    components = [
        {**_measurement("", [s * slow, s * slow * 1.02]), "component": part, "calls_per_image": n}
        for part, (n, s) in parts.items()
    ]
    measurements = [
        _measurement("latency_s", own),
        _measurement("load_time_s", [1.4 * slow]),
        _measurement("first_call_s", [1.1 * slow]),
        _measurement("baseline_latency_s", base),
        _measurement("speedup", [reference / time_s for reference, time_s in zip(base, own, strict=True)], "x"),
    ]
    return {
        "variant": name,
        "label": variant["label"],
        "measured": True,
        "device": "cpu",
        "compute": "bfloat16" if name == "bf16" else "float32",
        "threads": 2,
        "fingerprint": "0123456789ab",
        "prompt": "landscape",
        "steps": 20,
        "extrapolated": False,
        "baseline_extrapolated": False,
        "denoiser_steps": 21,
        "denoiser_steps_made": 21,
        "height": 256,
        "width": 256,
        "load_time_s": 1.4 * slow,
        "first_call_s": 1.1 * slow,
        "ratio": asdict(ratio),
        "discarded": 0,
        "precise": name != "fp16",
        "limit_s": 17.0,
        "libraries_mib": 450.0,
        "load_peak_mib": 612.3,
        "run_peak_mib": 700.0 + 100 * slow,
        "memory_kind": "rss",
        "memory_method": "invented",
        "executed": _executed(variant, slow),
        "baseline_executed": _executed({"backend": "torch", "weights": "float32"}, 1.0),
        "measurements": measurements,
        "components": components,
        "calls": calls,
    }


def _executed(variant: dict, slow: float) -> list[dict]:
    from stages.lib.formats.shared.executed_work import ExecutedWork

    work = {"unet": (21, 9), "vae": (1, 60), "text_encoder": (2, 1), "safety_checker": (1, 2)}
    computed = "bfloat16" if variant["weights"] == "bfloat16" else "float32"
    return [
        ExecutedWork(
            component, "main", operator, dtype, 10, part * gigas * 10**8, part * gigas * slow / 6000, calls
        ).as_json()
        for component, (calls, gigas) in work.items()
        for operator, part in (("Conv2d", 6), ("Linear", 3), ("MatMul", 1))
        for dtype in ["int8" if variant["backend"] == "torch_dynamic" and operator == "Linear" else computed]
    ]


def _compare(reference: dict, generated: dict) -> list[dict]:
    from stages.lib.quality.full_reference import Prepared, ssim_of
    from stages.lib.quality.metrics import psnr_db

    rows = []
    for key, image in generated.items():
        value, ssim = psnr_db(reference[key], image), ssim_of(Prepared(reference[key]), Prepared(image))
        rows.append({"id": key, "psnr_db": value, "identical": value is None, "ssim": ssim})
    return rows


def _statistics(rows: list[dict]) -> dict:
    values, ssims = [r["psnr_db"] for r in rows if not r["identical"]], [r["ssim"] for r in rows]
    return {
        "images": len(rows),
        "identical": len(rows) - len(values),
        "psnr_db": float(np.mean(values)) if values else None,
        "psnr_db_std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "ssim": float(np.mean(ssims)),
        "ssim_std": float(np.std(ssims, ddof=1)),
    }


def _quality(name: str, variant: dict, generated: dict, prompts: list) -> dict:
    from stages.lib.quality.metrics import rate_psnr

    kinds = {row[0]: row[2] for row in prompts}
    rows = _compare(generated["fp32"], generated[name])
    images = [{**r, "kind": kinds[r["id"]], "rating": rate_psnr(r["psnr_db"]), "flagged": False} for r in rows]
    return {
        "variant": name,
        "label": variant["label"],
        "baseline": "fp32",
        "measured": True,
        **_statistics(rows),
        "ssim_minimum": min(r["ssim"] for r in rows),
        "flagged": 0,
        "baseline_flagged": 0,
        **quality_figures(images),
        "per_image": images,
    }


def _summary(folder: Path, variants: dict, generated: dict) -> dict:
    from stages.lib.project.params import load_params
    from stages.lib.quality.variant_answers import compare_variants, primary, rank_correlations

    settings = load_params(folder / "params.yaml").quality
    qualities = {
        name: json.loads((folder / f"reports/embedded/quality/{name}.json").read_text("utf-8")) for name in variants
    }
    names = list(variants)
    sizes = {
        name: json.loads((folder / f"reports/embedded/size/{name}.json").read_text())["disk_mib"] for name in names
    }
    pairs = []
    for index, reference in enumerate(names):
        for name in names[index + 1 :]:
            rows = _compare(generated[reference], generated[name])
            pairs.append({"reference": reference, "variant": name, **_statistics(rows), "per_image": rows})
    rows = [
        {"variant": name, "label": variants[name]["label"], "compression": sizes["fp32"] / sizes[name]}
        for name in names
    ]
    return {
        "model": {"name": "embedded", "label": "Embedded"},
        "baseline": "fp32",
        "variants": rows,
        "definitions": {name: definition(variant_of(name=name, **variants[name])) for name in names},
        "runtimes": {},
        "unavailable": [],
        "comparisons": compare_variants(qualities, settings),
        "primary": primary(qualities, "fp32", settings),
        "agreement": rank_correlations(qualities, "fp32"),
        "pairs": pairs,
    }
