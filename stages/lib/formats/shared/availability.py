"""Can a variant be made and run here? Decided once, by the stage `environment`; later stages pass the answer on.

An optional package that is missing, or hardware that a format needs, is no mistake in params.yaml: the variant becomes
a row of the report that gives the reason, and everything else goes on.
"""

import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json, whole_folder, write_json
from stages.lib.project.params import OPTIONS, Params
from stages.lib.project.variant import Variant

UNAVAILABLE = "unavailable.json"
COMPUTING_PACKAGES = ("diffusers", "torch", "transformers")  # another version of them makes and generates anew

# Why a variant cannot be made and run here: {"reason": a code, and the values that go with it}. The words, and what
# would help, are made in stages.lib.reporting.words.obstacle_words.
Obstacle = dict[str, Any]


class CannotMake(UserError):
    """A model that a variant cannot be made of, found before anything of it is written; `obstacle` says why."""

    def __init__(self, obstacle: Obstacle, message: str = "") -> None:
        super().__init__(
            message or f"it cannot be made of this model ({in_short(obstacle)}): leave that network out of `components`"
        )
        self.obstacle = obstacle


def require_calls(variant: Variant, components: Sequence[str], calls: Mapping[str, Sequence[Any]] | None) -> None:
    """CannotMake unless each of `components` has calls: pipelines call some networks for some prompts alone."""
    for component in components:
        if not (calls or {}).get(component):
            raise CannotMake(
                {"reason": "never_called", "network": component},
                f"variant '{variant.name}' is made from examples of calls, but there are no calibration calls of "
                f"'{component}': add prompts to the file of params.yaml's 'calibration.file', run "
                "`dvc repro calibrate`; if generation never calls that network, leave it out of `components`",
            )


def find_obstacle(
    variant: Variant, default_device: str, machine: Mapping[str, Any], packages: Mapping[str, str | None]
) -> Obstacle | None:
    """The first thing that stands in the way of `variant`, or None.

    `default_device` is that of params.yaml, `machine` the part of environment.json with that name, `packages` the
    installed versions of what the back end needs. Nothing is imported.
    """
    missing = [name for name, version in packages.items() if version is None]
    if missing:
        return {"reason": "not_installed", "packages": missing}
    device = default_device if variant.device == "auto" else variant.device
    if device == "cuda" and machine["gpu"] is None:
        return {"reason": "no_cuda"}
    return variant.obstacle(device, machine)


def find_obstacles(
    params: Params,
    machine: Mapping[str, Any],
    packages: Mapping[str, Mapping[str, str | None]],
    only_default: bool = False,
) -> dict[str, Obstacle | None]:
    """The obstacle of every declared variant, by its name; `packages` by the name of the back end.

    With `only_default`, variants that say `default: false` are left out, but for the baseline.
    """
    return {
        name: {"reason": "not_in_set"}
        if only_default and not variant.default and name != params.baseline
        else find_obstacle(variant, params.device, machine, packages[variant.backend])
        for name, variant in params.variants.items()
    }


def libraries_here(software: Mapping[str, str | None]) -> tuple[dict[str, dict[str, str | None]], dict[str, str]]:
    """What each back end finds installed besides, and in one line whatever may change what it computes.

    `software` are the versions that environment.json has of what all share.
    """
    packages = {
        backend: {package: installed_version(package) for package in model.packages}
        for backend, model in OPTIONS.items()
    }
    shared = {package: software[package] for package in COMPUTING_PACKAGES}
    libraries = {
        backend: ", ".join(f"{package} {version}" for package, version in {**shared, **own}.items() if version)
        for backend, own in packages.items()
    }
    return packages, libraries


def installed_version(package: str) -> str | None:
    """The installed version of a package by the name that pip knows, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def obstacle_of(environment: Path, variant: Variant) -> Obstacle | None:
    """The obstacle of `variant` that the stage `environment` wrote."""
    obstacles = read_json(environment).get("obstacles", {})
    if variant.name not in obstacles:
        raise UserError(f"{environment} says nothing about variant '{variant.name}': run `dvc repro environment`")
    return obstacles[variant.name]


def obstacle_left_in(folder: Path) -> Obstacle | None:
    """The obstacle that an earlier stage left in place of a model or of images."""
    path = folder / UNAVAILABLE
    return read_json(path)["unavailable"] if path.is_file() else None


def passed_on(stage: str, variant: Variant, obstacle: Obstacle | None, *outputs: Path) -> bool:
    """Whether there is an obstacle. Then it is written in place of the outputs of `stage`: folders and JSON files."""
    if obstacle is None:
        return False
    content = {"variant": variant.name, "label": variant.label, "unavailable": obstacle}
    for output in outputs:
        if output.suffix == ".json":
            write_json(output, content)
        else:
            with whole_folder(output) as folder:
                write_json(folder / UNAVAILABLE, content)
    print(f"{stage}: {variant.label} is left out ({in_short(obstacle)})")
    return True


def in_short(obstacle: Obstacle) -> str:
    """The code and its values, for one line on a terminal; the stage `environment` says it in words."""
    values = {key: " ".join(item) if isinstance(item, list) else item for key, item in obstacle.items()}
    return ", ".join([values.pop("reason"), *(f"{key} {value}" for key, value in values.items())])
