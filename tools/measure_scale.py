"""Measure how generation spreads over GPUs, and how formats differ over thousands of images, for the report.

`python -m training.prompts 10000 > data/many.csv`, then `python -m tools.measure_scale --prompts data/many.csv
--variants fp32,fp16 --scratch /tmp/scale` where the GPUs are. The stage generate makes the first images on 1, 2, 4 ...
GPUs; then every format generates all prompts in batches on all GPUs, and their features and attributes are compared
with the baseline's. Results go to reports/machines/FINGERPRINT/scale.json. Batches that are done stay in the scratch
folder: the same command goes on.
"""

import argparse
import csv
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.devices import resolve_device
from stages.lib.formats.shared.loaded_size import loaded_bytes
from stages.lib.generation.noise import read_noise
from stages.lib.generation.recipe import Recipe, pool_of_models
from stages.lib.models.call_arguments import arguments_of
from stages.lib.models.kinds import kind_of
from stages.lib.project.errors import UserError, run_stage
from stages.lib.project.files import read_json, rounded, write_json
from stages.lib.project.lock_file import digest
from stages.lib.project.memory import PROCESS_BYTES
from stages.lib.project.params import Params, Variant
from stages.lib.project.prompts import COLUMNS, Prompt, load_prompts
from stages.lib.project.worker_pool import ITEMS_PER_PROCESS, map_in_pool, pool_for, threads_here
from stages.lib.results.evidence import seal
from stages.lib.results.scale import RECORD
from stages.quantize import base_parameters
from tools.large_comparison import FEW, MARGIN, Stored, compare_sets
from tools.many_images import Many, batches_of
from tools.measure_machine import ENVIRONMENT, commit_here, describe_in, folder_named, planned, run, run_python
from tools.pipeline_file import PIPELINE, leading_to, make_project, read_stages

SPREAD = "data/spread.csv"  # the prompts that 1, 2, 4 ... GPUs generate
DEVICES = "CUDA_VISIBLE_DEVICES"
MARK = ".measure_scale"  # in a project that this tool may delete


def main() -> None:
    """Make the models, spread, compare, write."""
    begin_s = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--prompts", type=Path, required=True, help="prompts file; all of its rows are generated")
    parser.add_argument("--variants", required=True, help="keys of `variants` of params.yaml, by comma")
    parser.add_argument(
        "--scratch", type=folder_named, required=True, help="folder for models and features; it is kept"
    )
    parser.add_argument("--output", type=folder_named, default=Path("reports/machines"), help="folder of all machines")
    parser.add_argument(
        "--spread", type=at_least(0), default=1000, help="images that 1, 2, 4 ... GPUs generate; 0: none"
    )
    parser.add_argument("--batch-size", type=at_least(1), default=64, help="prompts in a call")
    parser.add_argument("--time-limit", type=float, default=1e6, help="seconds after which no batch is begun")
    parser.add_argument("--commit", default=commit_here(), help="of this code, where Git cannot tell")
    arguments = parser.parse_args()
    prompts = load_prompts(arguments.prompts, None, "as --prompts")
    if len(prompts) < FEW:
        raise UserError(f"{arguments.prompts} has {len(prompts)} prompts: large sets are compared from {FEW} on")
    spread = prompts[: max(1, arguments.spread)]  # noise says which shape a pipeline takes
    sets = sorted({prompt.set for prompt in spread})
    document = planned(None, None, arguments.variants) | {"prompts": {"file": SPREAD, "sets": sets}}
    document["benchmark"] = {**document["benchmark"], "prompt": spread[0].id}
    project = arguments.scratch / "project"
    params = begin(project, document, spread)
    environment = read_json(project / ENVIRONMENT)
    record = {
        "model": params.model,
        "model_label": params.chosen_model.label,
        "baseline_label": params.variant(params.baseline).label,
        "gpu": environment["machine"]["gpu"],
        "spread": list(spread_over(project, params, len(spread), arguments.commit)) if arguments.spread else [],
    }
    many = of_all(project, params, prompts[0])
    origin = {
        **{name: document[name] for name in ("variants", "generation", "calibration", "models", "device")},
        **{"model": params.model, "commit": arguments.commit, "batch_size": arguments.batch_size},
        **{"fingerprint": environment["fingerprint"], "imagenet": bool(find_spec("efficientnet_lite_pytorch"))},
    }
    key = hashlib.sha256(json.dumps(origin, sort_keys=True, default=str).encode() + arguments.prompts.read_bytes())
    stored = Stored(arguments.scratch / key.hexdigest()[:16], batches_of(prompts, arguments.batch_size))
    generate(many, stored, arguments.commit, begin_s + arguments.time_limit)
    record["sets"] = {
        "batch_size": arguments.batch_size,
        "asked": len(prompts),
        "margin": MARGIN,
        "fid_images": params.quality.fid_images,
        "rows": compare_sets(stored, params, many.base, many.device),
    }
    record["origin"] = {"runs": stored.runs(), "compared": arguments.commit, "notes": []}
    machine = arguments.output / environment["fingerprint"]
    if (machine / RECORD).is_file():
        fuller, own = (item["sets"]["rows"] for item in (read_json(machine / RECORD), record))
        if fuller and (not own or own[0]["n"] < fuller[0]["n"]):
            raise UserError(
                f"{machine / RECORD} has {fuller[0]['n']} prompts, more than there are now: it is kept; run the "
                "same command again to go on, or move that file away"
            )
    describe_in(machine, environment)
    record = rounded(record)
    write_json(machine / RECORD, {**record, "sha256": seal(record)})
    there = sum(len(batch) for _, batch in stored.there())
    print(f"measure_scale: {machine / RECORD}, {there} of {len(prompts)} prompts, {time.monotonic() - begin_s:.0f} s")
    if there < len(prompts):
        print("measure_scale: the rest was left for want of time; run it again to go on")


def at_least(least: int) -> Callable[[str], int]:
    """The type of an option that takes whole numbers from `least`."""

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit() and int(text) >= least):
            raise argparse.ArgumentTypeError(f"'{text}' is no whole number from {least}")
        return int(text)

    return number


def begin(project: Path, document: dict[str, Any], spread: list[Prompt]) -> Params:
    """A new project with the models of all variants and the noise of the prompts `spread`."""
    if project.exists() and not (project / MARK).is_file():
        raise UserError(f"{project} was not made by this tool: name another folder as --scratch")
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir(parents=True)
    (project / MARK).touch()
    params = make_project(project, document)
    with (project / SPREAD).open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows([getattr(prompt, column) for column in COLUMNS] for prompt in spread)
    stages, runs = read_stages(PIPELINE, document), Path("data/runs", params.model)
    run(leading_to([ENVIRONMENT], stages), project)
    obstacles = read_json(project / ENVIRONMENT)["obstacles"]
    if failed := [name for name, item in obstacles.items() if item]:
        raise UserError(f"cannot run here: {', '.join(failed)}: leave them out of --variants")
    models = [str(runs / "models" / name) for name in params.variants]
    run(leading_to([str(runs / "calibration.safetensors"), str(runs / "noise.safetensors")], stages), project)
    variants = [params.variant(name) for name in params.variants]
    each_bytes = making_bytes(variants, project / runs / "models/base")
    pool = pool_for(len(models), threads_here(), each_bytes, psutil.virtual_memory().available, items_per_process=1)
    with ThreadPoolExecutor(pool.processes) as several:
        list(several.map(lambda model: run(leading_to([model], stages), project), models))
    return params


def making_bytes(variants: Sequence[Variant], base: Path) -> float:
    """What the greediest variant's two processes take of memory while it is made, as the stage quantize reckons."""
    entries = [(BACKENDS[variant.backend], variant.needs_calibration) for variant in variants]
    peak = max(entry.calibrated_peak if calibrates else entry.quantize_peak for entry, calibrates in entries)
    return peak * 4 * max(base_parameters(base).values()) + 2 * PROCESS_BYTES


def spread_over(project: Path, params: Params, images: int, commit: str | None) -> Iterator[dict[str, Any]]:
    """The stage generate of the baseline on 1, 2, 4 ... GPUs, each from the start: seconds, and a digest of all it
    wrote. Where it does not run on GPUs: once, by the processes of the CPU."""
    import torch

    on_gpus = resolve_device(params.variant(params.baseline).device, params.device) == "cuda"
    gpus, runs = torch.cuda.device_count() if on_gpus else 0, Path("data/runs", params.model)
    visible = os.environ.get(DEVICES, "").split(",") if os.environ.get(DEVICES) else [*map(str, range(gpus))]
    model, count = runs / "models" / params.baseline, 1
    while count <= max(1, gpus):
        output = Path("spread", str(count))
        words = ["-m", "stages.generate", "--variant", params.baseline, "--model", str(model)]
        words += ["--noise", str(runs / "noise.safetensors"), "--output", str(output)]
        own = {DEVICES: ",".join(visible[:count])} if gpus else {}
        start_s = time.monotonic()
        run_python(f"generate, GPUs: {count}", words, project, **own)
        took_s = time.monotonic() - start_s
        row = {"gpus": count if gpus else 0, "images": images, "seconds": took_s}
        row |= {"digest": digest(project / output), "commit": commit}
        shutil.rmtree(project / output)
        print(f"measure_scale: {row}", flush=True)
        yield row
        count *= 2


def of_all(project: Path, params: Params, first: Prompt) -> Many:
    """What the batches of all variants have in common."""
    runs = project / "data/runs" / params.model
    noise = runs / "noise.safetensors"
    call = arguments_of(params, kind_of(runs / "models" / params.baseline).pipeline_class())
    names = [params.baseline, *(name for name in params.variants if name != params.baseline)]
    recipes = {
        name: Recipe(
            runs / "models" / name,
            params.variant(name),
            resolve_device(params.variant(name).device, params.device),
            noise,
            call,
        )
        for name in names
    }
    return Many(recipes, runs / "models/base", tuple(read_noise(noise, first.id).shape[1:]))


def generate(many: Many, stored: Stored, commit: str | None, end_s: float) -> None:
    """Generate the batches that are not stored, until `end_s` of time.monotonic, and note what did it."""
    missing, before, start_s, done = stored.missing(), stored.runs(), time.monotonic(), 0
    each_bytes = [loaded_bytes(recipe.model, recipe.variant) for recipe in many.recipes.values()]
    pool = pool_of_models(each_bytes, many.device, ITEMS_PER_PROCESS * len(missing))
    results = map_in_pool(many.open, many.do, [batch for _, batch in missing], pool)
    for (number, batch), result in zip(missing, tqdm(results, "generate", len(missing), unit="batch"), strict=True):
        stored.keep(number, result)
        done += len(batch)
        run = {"commit": commit, "processes": pool.processes, "prompts": done, "seconds": time.monotonic() - start_s}
        stored.note([*before, run])
        if time.monotonic() > end_s:
            results.close()
            break


if __name__ == "__main__":
    run_stage(main)
