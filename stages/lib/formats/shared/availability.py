"""Can a variant be made and run here? Decided once, by the stage `environment`; later stages pass the answer on.

An optional package that is missing, or hardware that a format needs, is no mistake in params.yaml: the variant becomes
a row of the report that gives the reason, and everything else goes on.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.lib.formats import BACKENDS
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, whole_folder, write_json
from stages.lib.project.params import Params, Variant

UNAVAILABLE = "unavailable.json"


@dataclass(frozen=True)
class Obstacle:
    """Why a variant cannot be made and run here, and what would help."""

    reason: str
    remedy: str


def find_obstacle(
    variant: Variant, default_device: str, machine: Mapping[str, Any], packages: Mapping[str, str | None]
) -> Obstacle | None:
    """The first thing that stands in the way of `variant`, or None.

    `default_device` is that of params.yaml, `machine` the part of environment.json with that name, `packages` the
    installed versions of what the back end needs. Nothing is imported.
    """
    missing = [name for name, version in packages.items() if version is None]
    if missing:
        return Obstacle(f"{' and '.join(missing)}: not installed", f"pip install {' '.join(missing)}")
    backend = BACKENDS[variant.backend]
    device = default_device if variant.device == "auto" else variant.device
    if device == "cuda" and machine["gpu"] is None:
        return Obstacle(
            "cannot run here: PyTorch finds no CUDA device",
            "set `device` to auto or cpu, or install a PyTorch build and a driver for your GPU",
        )
    capability = backend.gpu_weights.get(variant.weights)
    if capability and (device == "cpu" or (machine["gpu_compute_capability"] or 0) < capability):
        return Obstacle(
            f"cannot run here: {variant.weights} needs a GPU of compute capability {capability} or more",
            "run it on such a machine",
        )
    for key, arithmetic in [("compute", variant.compute), *(("schedule", item) for item in variant.schedule)]:
        wanted = backend.instruction_sets.get(arithmetic, ())
        if wanted and not set(wanted) & set(machine["instruction_sets"]):
            names = " or ".join(name.upper() for name in wanted)
            return Obstacle(
                f"cannot run here: {key} {arithmetic} needs a processor with {names}", f"use float32 in `{key}`"
            )
    return None


def find_obstacles(
    params: Params, machine: Mapping[str, Any], packages: Mapping[str, Mapping[str, str | None]]
) -> dict[str, dict[str, str] | None]:
    """The obstacle of every declared variant as JSON, by its name. A baseline that has one is a UserError."""
    found = {
        variant.name: find_obstacle(variant, params.device, machine, packages[variant.backend])
        for variant in params.variants.values()
    }
    obstacle = found[params.baseline]
    if obstacle:
        raise UserError(
            f"params.yaml: baseline '{params.baseline}', with which everything is compared, is not available here. "
            f"{obstacle.reason}: {obstacle.remedy}, or choose another baseline"
        )
    return {name: asdict(obstacle) if obstacle else None for name, obstacle in found.items()}


def obstacle_of(environment: Path, variant: Variant) -> Obstacle | None:
    """The obstacle of `variant` that the stage `environment` wrote."""
    obstacles = read_json(environment).get("obstacles", {})
    if variant.name not in obstacles:
        raise UserError(f"{environment} says nothing about variant '{variant.name}': run `dvc repro environment`")
    obstacle = obstacles[variant.name]
    return Obstacle(**obstacle) if obstacle else None


def obstacle_left_in(folder: Path) -> Obstacle | None:
    """The obstacle that an earlier stage left in place of a model or of images."""
    path = folder / UNAVAILABLE
    return Obstacle(**read_json(path)["unavailable"]) if path.is_file() else None


def passed_on(stage: str, variant: Variant, obstacle: Obstacle | None, *outputs: Path) -> bool:
    """Whether there is an obstacle. Then it is written in place of the outputs of `stage`: folders and JSON files."""
    if obstacle is None:
        return False
    content = {"variant": variant.name, "label": variant.label, "unavailable": asdict(obstacle)}
    for output in outputs:
        if output.suffix == ".json":
            write_json(output, content)
        else:
            with whole_folder(output) as folder:
                write_json(folder / UNAVAILABLE, content)
    print(f"{stage}: {variant.label} is left out ({obstacle.reason}: {obstacle.remedy})")
    return True
