"""What was measured of another model with the same formats, and how it stands beside this one.

Its records are those of its own run: reports/MODEL/summary.json, size, timing, quality and sensitivity. A format counts
as the same where its definition is, whatever it is called.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.params import Params
from stages.lib.quality.statistics import Comparison, compare_paired, intervals
from stages.lib.results.records import SENSITIVITIES, MeasuredVariant, Results
from stages.lib.results.speeds import stated
from stages.lib.results.summary import definition

PROBED = (("text_encoders", "embeddings"), ("denoiser", "latents"), ("decoder", "image"))
Role = Literal["text_encoders", "denoiser", "decoder"]


@dataclass(frozen=True)
class ComparedModel:
    """One model on one machine, whose `fingerprint` is None where nothing was timed.

    `redefined`: the labels of formats that it was measured in under other settings than params.yaml has now.
    """

    key: str
    label: str
    baseline: str
    fingerprint: str | None
    variants: tuple[MeasuredVariant, ...]
    sensitivity: Mapping[str, Any]
    redefined: tuple[str, ...] = ()

    @property
    def reference(self) -> MeasuredVariant:
        """What its other formats are compared with."""
        return next(item for item in self.variants if item.name == self.baseline)

    def find(self, name: str) -> MeasuredVariant | None:
        """Its measured variant of that name."""
        return next((item for item in self.variants if item.name == name), None)

    @property
    def images(self) -> list[str]:
        """The prompts that were generated, by id."""
        quality = self.reference.quality
        return [row["id"] for row in quality["per_image"]] if quality["measured"] else []

    @cached_property
    def roles(self) -> dict[Role, tuple[str, ...]]:
        """Its networks by what they are for, as far as damage was traced to them: by where each can do any first."""
        found, before = {}, set()
        formats = self.sensitivity.get("components", {}).get("formats", ())
        for role, place in PROBED if formats else ():
            players = [row["component"] for row in formats[-1]["probe_points"][place]["components"]]
            found[role] = tuple(name for name in players if name not in before)
            before |= set(players)
        return found


@dataclass(frozen=True)
class Missing:
    """A model of which there is nothing to compare. `reason`: absent, incomplete, or another baseline than here."""

    key: str
    label: str
    reason: Literal["absent", "incomplete", "baseline"]


def this_model(results: Results, params: Params) -> ComparedModel:
    """The model that the report is about."""
    timing = results.baseline.timing
    return ComparedModel(
        key=params.model,
        label=params.chosen_model.label,
        baseline=params.baseline,
        fingerprint=timing.get("fingerprint"),
        variants=results.variants,
        sensitivity=_measured(results.sensitivity),
    )


def load_model(reports: Path, key: str, params: Params) -> ComparedModel | Missing:
    """What the run of the model `key` left in `reports`. A record in another form is a UserError with the remedy."""
    folder, label = reports / key, params.models[key].label
    if not (folder / "summary.json").is_file():
        return Missing(key, label, "absent")
    try:
        return _load(folder, key, label, params)
    except (KeyError, TypeError, AttributeError, ValueError, StopIteration) as error:
        raise UserError(
            f"{folder} has a record that lacks something or has it in another form ({type(error).__name__}: {error}): "
            f"run `make report MODEL={key}`, or take {key} out of `report.compare` in params.yaml"
        ) from None


def _load(folder: Path, key: str, label: str, params: Params) -> ComparedModel | Missing:
    summary = read_json(folder / "summary.json")
    if summary["baseline"] != params.baseline:
        return Missing(key, label, "baseline")
    rows = {row["variant"]: row for row in summary["variants"]}
    known = summary.get("definitions", {})  # records of an earlier version have none
    same = {name: item for name, item in params.variants.items() if known.get(name) == definition(item)}
    kinds = ("size", "timing", "quality")
    if params.baseline not in same or not all((folder / k / f"{n}.json").is_file() for k in kinds for n in same):
        return Missing(key, label, "incomplete")
    records = {kind: {name: read_json(folder / kind / f"{name}.json") for name in same} for kind in kinds}
    timings, _clock = stated(records["timing"], params.baseline)
    paths = {name: folder / f"sensitivity/{name}.json" for name in SENSITIVITIES}
    return ComparedModel(
        key=key,
        label=label,
        baseline=params.baseline,
        fingerprint=timings[params.baseline].get("fingerprint"),
        variants=tuple(
            MeasuredVariant(
                variant=variant,
                compression=rows[name]["compression"],
                size=records["size"][name],
                timing=timings[name],
                quality=records["quality"][name],
            )
            for name, variant in same.items()
        ),
        sensitivity=_measured({name: read_json(path) for name, path in paths.items() if path.is_file()}),
        redefined=tuple(row["label"] for name, row in rows.items() if name in params.variants and name not in same),
    )


def _measured(sensitivity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: found for name, found in sensitivity.items() if found.get("measured", True)}


@dataclass(frozen=True)
class FormatOn:
    """One format on one model; quality is over the `images` that all compared models have, None where there are none.

    `ssim`: mean, 95 % interval, n. `worst`: SSIM and id of the worst image. `kept`: how many of the attributes that the
    baseline's images show as asked this format's show too, and of how many; None where they were not judged.
    """

    item: MeasuredVariant
    ssim: Mapping[str, Any] | None
    worst: tuple[float, str] | None
    kept: tuple[int, int] | None

    @property
    def kept_percent(self) -> float | None:
        """The share of kept attributes."""
        return 100 * self.kept[0] / self.kept[1] if self.kept and self.kept[1] else None


@dataclass(frozen=True)
class Row:
    """One format on every model, in their order; None where a model has it not.

    `differences`: of each model but the first, the mean over images of its SSIM minus the first's, of the same prompt;
    None where it cannot be told.
    """

    name: str
    label: str
    cells: tuple[FormatOn | None, ...]
    differences: tuple[Comparison | None, ...]


def common_images(models: Sequence[ComparedModel]) -> list[str]:
    """The prompts that all models with images have generated."""
    generated = [set(model.images) for model in models if model.images]
    first = next((model.images for model in models if model.images), [])
    return [name for name in first if all(name in found for found in generated)]


def rows_of(models: Sequence[ComparedModel], params: Params) -> list[Row]:
    """The formats of the first model that another one has too, in their order."""
    images, found = common_images(models), []
    for item in models[0].variants:
        items = [model.find(item.name) for model in models]
        if any(items[1:]):
            cells = tuple(other and _format_on(other, images, params) for other in items)
            differences = tuple(_difference(items[0], other, images, params) for other in items[1:])
            found.append(Row(item.name, item.label, cells, differences))
    return found


def _of(item: MeasuredVariant, images: Sequence[str]) -> list[dict[str, Any]]:
    rows = {row["id"]: row for row in item.quality["per_image"]} if item.quality["measured"] else {}
    return [rows[name] for name in images if name in rows]


def _format_on(item: MeasuredVariant, images: Sequence[str], params: Params) -> FormatOn:
    rows = _of(item, images)
    if not rows:
        return FormatOn(item, None, None, None)
    mean = intervals({"ssim": [row["ssim"] for row in rows]}, params.quality.resamples, params.quality.seed)["ssim"]
    worst = min(rows, key=lambda row: row["ssim"])
    judged = [said for row in rows for said in (row["attributes"] or {}).values()]
    right = [said for said in judged if said["baseline_seen"] == said["asked"]]
    kept = (sum(said["seen"] == said["asked"] for said in right), len(right)) if judged else None
    return FormatOn(item, mean, (worst["ssim"], worst["id"]), kept)


def _difference(
    one: MeasuredVariant, other: MeasuredVariant | None, images: Sequence[str], params: Params
) -> Comparison | None:
    if other is None or not (first := _of(one, images)) or not (second := _of(other, images)):
        return None
    values = np.array([[b["ssim"] - a["ssim"] for a, b in zip(first, second, strict=True)]])
    quality = params.quality
    return compare_paired(values, quality.margins.ssim, quality.resamples, quality.seed)[0]


def rank_correlation(rows: Sequence[Row], number: int, baseline: str) -> tuple[float, int] | None:
    """Spearman's, of the mean SSIM of formats on the first model and on model `number`, and of how many formats.

    None of fewer than three, or where one model has them all alike.
    """
    pairs = [(row.cells[0], row.cells[number]) for row in rows if row.name != baseline]
    means = [(one.ssim["mean"], other.ssim["mean"]) for one, other in pairs if one.ssim and other and other.ssim]
    if len(means) < 3:
        return None
    one, other = zip(*means, strict=True)
    if len(set(one)) == 1 or len(set(other)) == 1:
        return None
    return float(np.corrcoef(_ranks(one), _ranks(other))[0, 1]), len(means)


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Their ranks from 1 on, equal ones share the mean of theirs. scipy.stats takes half a second to import."""
    _found, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[places]
