"""Results of other machines: one folder per machine in Git, one folder per model and variant in it.

reports/machines/FINGERPRINT/environment.json                  the machine
reports/machines/FINGERPRINT/asked.json                        what was to be measured, and what failed why
reports/machines/FINGERPRINT/MODEL/VARIANT/size.json           as reports/MODEL/size/VARIANT.json, and so on
                                          timing.json
                                          quality.json
                                          origin.json          of which commit, model and settings they come, and
                                                               a digest over all four: older ones have none
reports/machines/FINGERPRINT/denoisers.json                    single calls of large denoisers (see `denoisers`)
reports/machines/FINGERPRINT/scale.json                        thousands of images over GPUs (see `scale`)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stages.lib.formats.shared.availability import Obstacle
from stages.lib.formats.shared.compile_options import RECORDING
from stages.lib.models.inventory import compression
from stages.lib.project.documents import read_mapping
from stages.lib.project.errors import UserError
from stages.lib.project.params import AnyVariant, Variant, variant_of
from stages.lib.project.params_errors import explain
from stages.lib.results.denoisers import DenoiserRow, load_denoisers
from stages.lib.results.evidence import seal
from stages.lib.results.records import MeasuredVariant, Results
from stages.lib.results.scale import Scale, load_scale
from stages.lib.results.speeds import Clock, stated

FILES = ("size", "timing", "quality", "origin")
REMEDY = "bring it again from where it was measured"  # only that machine can make it again
# What two variants may differ in and still be the same format on two machines.
NAMING = {"default", "name", "label", "device"}


@dataclass(frozen=True)
class MeasuredModel:
    """One model on one machine. `missing` has an obstacle, or None, for each variant that was asked for in vain."""

    name: str
    label: str
    baseline: str
    clock: Clock | None
    variants: tuple[MeasuredVariant, ...]
    missing: dict[str, Obstacle | None]

    @property
    def parameters(self) -> int:
        """How many its networks have."""
        return max((item.size["parameters"] for item in self.variants), default=0)

    @property
    def no_quality(self) -> str | None:
        """Why quality was measured of no variant; None if it was of one, or if there are several reasons."""
        reasons = {None if item.quality.get("measured", True) else item.quality["reason"] for item in self.variants}
        return reasons.pop() if len(reasons) == 1 else None

    @property
    def replayed(self) -> list[str]:
        """The labels of the variants whose batches replay what the GPU was asked to do once."""
        return [item.label for item in self.variants if item.batches and item.variant.compile_mode in RECORDING]

    @property
    def commits(self) -> dict[str, list[str]]:
        """The commits at which variants were measured, each with their labels; without those of no known commit."""
        found: dict[str, list[str]] = {}
        for item in self.variants:
            if item.commit:
                found.setdefault(item.commit, []).append(item.label)
        return found


@dataclass(frozen=True)
class Machine:
    """One folder of reports/machines."""

    fingerprint: str
    environment: dict[str, Any]
    models: tuple[MeasuredModel, ...]
    denoisers: tuple[DenoiserRow, ...] = ()
    scale: Scale | None = None

    @property
    def tables(self) -> int:
        """How many a report shows of it alone."""
        return len(self.models) + bool(self.denoisers) + (self.scale.tables if self.scale else 0)

    @property
    def title(self) -> str:
        """Its graphics processor, or its processor."""
        return machine_title(self.environment)

    @property
    def denoiser_calls(self) -> dict[tuple[str, int], list[DenoiserRow]]:
        """The timed denoisers by model and batch."""
        found: dict[tuple[str, int], list[DenoiserRow]] = {}
        for row in self.denoisers:
            found.setdefault((row.model, row.batch), []).append(row)
        return {key: rows for key, rows in found.items() if any(not row.is_control for row in rows)}

    def without(self, model: str) -> "Machine":
        """The same machine, but for what it measured of `model`."""
        return replace(self, models=tuple(found for found in self.models if found.name != model))


def load_machines(folder: Path) -> tuple[Machine, ...]:
    """Every machine in `folder`, by fingerprint; none if it is not there.

    What is broken, or stands in the folder of another machine, is a UserError; what is not there yet is in `missing`.
    """
    return tuple(_load_machine(path) for path in sorted(folder.glob("[!.]*")) if path.is_dir())


def _load_machine(folder: Path) -> Machine:
    remedy = f"delete {folder} or bring it whole from the machine that measured it"
    try:
        return _parse_machine(folder, remedy)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{folder} has a record that lacks something or has it in another form ({type(error).__name__}: {error}): "
            f"{remedy}"
        ) from None


def _parse_machine(folder: Path, remedy: str) -> Machine:
    for name in ("environment.json", "asked.json"):
        if not (folder / name).is_file():
            raise UserError(f"{folder} is incomplete, {name} is missing: {remedy}")
    environment, asked = (read_mapping(folder / name, REMEDY) for name in ("environment.json", "asked.json"))
    if environment["fingerprint"] != folder.name:
        raise UserError(f"{folder / 'environment.json'} describes the machine {environment['fingerprint']}: {remedy}")
    machine_title(environment)  # in every table of machines
    models = tuple(
        _load_model(folder / name, variants, asked["failed"].get(name, {}), environment["fingerprint"])
        for name, variants in asked["models"].items()
    )
    more = load_denoisers(folder, remedy), load_scale(folder, remedy)
    return Machine(environment["fingerprint"], environment, models, *more)


def _load_model(folder: Path, asked: list[str], failed: dict[str, Obstacle], fingerprint: str) -> MeasuredModel:
    found = {}
    for name in asked:
        if all((folder / name / f"{file}.json").is_file() for file in FILES):
            found[name] = {file: read_mapping(folder / name / f"{file}.json", REMEDY) for file in FILES}
            sealed = found[name]["origin"].pop("sha256", None)
            if sealed not in (None, seal(found[name])):
                raise UserError(
                    f"{folder / name} was edited after it was measured: bring it again from the machine that measured "
                    f"it, or delete {folder / name}"
                )
            timing = found[name]["timing"]
            if timing["measured"] and timing["fingerprint"] != fingerprint:
                raise UserError(
                    f"{folder / name / 'timing.json'} was measured on the machine {timing['fingerprint']}: "
                    f"delete {folder / name}"
                )
    origins = [item["origin"] for item in found.values()]
    baseline = origins[0]["baseline"]["name"] if origins else ""
    baseline_size = found[baseline]["size"] if baseline in found else None
    timings, clock = stated({name: item["timing"] for name, item in found.items()}, baseline)
    return MeasuredModel(
        name=folder.name,
        label=origins[0]["model_label"] if origins else folder.name,
        baseline=origins[0]["baseline"]["label"] if origins else "",
        clock=clock,
        variants=tuple(
            MeasuredVariant(
                variant=_variant(item["origin"]["variant"], folder / name),
                size=item["size"],
                timing=timings[name],
                quality=item["quality"],
                compression=compression(baseline_size, item["size"]) if baseline_size else None,
                commit=item["origin"].get("commit"),
            )
            for name, item in found.items()
        ),
        missing={name: failed.get(name) for name in asked if name not in found},
    )


def _variant(stored: dict[str, Any], folder: Path) -> Variant:
    try:
        return variant_of(**stored)
    except ValidationError as error:
        mistake = next(explain(error, AnyVariant))
        raise UserError(
            f"{folder / 'origin.json'} has a variant that this code does not know ({mistake}): delete "
            f"{folder} or measure it again"
        ) from None


def same_format(variant: Variant) -> str:
    """What two variants of the same format have in common on all machines."""
    return variant.model_dump_json(exclude=NAMING)


@dataclass(frozen=True)
class MachineComparison:
    """What several machines timed of one model. A cell is None where a machine has not timed the format."""

    label: str
    machines: list[str]
    rows: list[tuple[str, list[dict[str, Any] | None]]]


def compare_machines(machines: tuple[Machine, ...], results: Results, model: str) -> list[MachineComparison]:
    """For each model that two machines or more measured, the formats that two or more of them timed.

    A cell has `speedup`, over that machine's own baseline, `latency_s` and `device`. This machine, which measured
    `model`, has the first column of it.
    """
    columns: dict[str, list[tuple[str, Sequence[MeasuredVariant]]]] = {
        model: [(machine_title(results.environment), results.variants)]
    }
    labels = {}
    for machine in machines:
        for found in machine.models:
            columns.setdefault(found.name, []).append((machine.title, found.variants))
            labels[found.name] = found.label
    comparisons = [
        MachineComparison(labels[name], [title for title, _ in measured], _rows([items for _, items in measured]))
        for name, measured in columns.items()
        if len(measured) > 1
    ]
    return [comparison for comparison in comparisons if len(comparison.rows) > 1]  # not the baseline alone


def _rows(columns: list[Sequence[MeasuredVariant]]) -> list[tuple[str, list[dict[str, Any] | None]]]:
    """By format: its label and a cell for each column of variants."""
    cells: dict[str, dict[int, dict[str, Any]]] = {}
    labels: dict[str, str] = {}
    for number, items in enumerate(columns):
        for item in (item for item in items if item.timed):
            key = same_format(item.variant)
            labels.setdefault(key, item.label)
            shown = {name: item.timing[name] for name in ("latency_s", "speedup", "device")}
            cells.setdefault(key, {})[number] = shown
    found = ((labels[key], row) for key, row in cells.items() if len(row) > 1)
    return [(label, [row.get(number) for number in range(len(columns))]) for label, row in found]


def machine_title(environment: dict[str, Any]) -> str:
    """A machine's graphics processor, or its processor."""
    return environment["machine"]["gpu"] or environment["machine"]["cpu"]
