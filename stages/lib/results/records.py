"""Everything the earlier stages left in reports/ and in the images, read for the declared variants alone.

A variant that was removed from params.yaml leaves its files behind; they are never listed here.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stages.lib.formats.shared.executed_work import ExecutedWork, work_of
from stages.lib.models.inventory import compression
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.lineage import digests
from stages.lib.project.measurement import Measurement
from stages.lib.project.params import Params, Variant
from stages.lib.results.speeds import Clock, stated
from stages.lib.timing.prediction import RuntimeSpeedup

SENSITIVITIES = ("components", "steps", "layers")


@dataclass(frozen=True, kw_only=True)
class MeasuredVariant:
    """What was measured of one variant, here or on another machine, there at `commit`, if that is known."""

    variant: Variant
    compression: float | None
    size: dict[str, Any]
    timing: dict[str, Any]
    quality: dict[str, Any]
    commit: str | None = None

    @property
    def name(self) -> str:
        """The key in params.yaml."""
        return self.variant.name

    @property
    def label(self) -> str:
        """The name in tables and charts."""
        return self.variant.label

    @property
    def timed(self) -> bool:
        """Whether its speed and memory were measured."""
        return self.timing["measured"]

    @property
    def batches(self) -> list[dict[str, Any]]:
        """Size, seconds an image and peak in MiB of each batch that was timed."""
        return [
            {
                "batch_size": batch["batch_size"],
                "latency_s": Measurement.from_json(batch["latency_per_image_s"]).median,
                "run_peak_mib": batch["run_peak_mib"],
            }
            for batch in self.timing.get("batches", ())
        ]


@dataclass(frozen=True, kw_only=True)
class VariantResult(MeasuredVariant):
    """What was measured of one variant here: the files of reports/M/*/V.json and of its images."""

    is_baseline: bool
    generated: dict[str, Any]
    runtime: RuntimeSpeedup | None = None
    appearance: dict[str, Any] = field(default_factory=dict)

    def component_compression(self, number: int, baseline: "VariantResult") -> float:
        """Compression of the component that stands at `number` in the size report."""
        return compression(baseline.size["components"][number], self.size["components"][number])

    def efficiency_percent(self, baseline: "VariantResult") -> float:
        """The compression as a share of that which the bits per weight promise."""
        bits = self.size["theoretical_mib"] / self.size["parameters"]
        return 100 * self.compression * bits * baseline.size["parameters"] / baseline.size["theoretical_mib"]

    @property
    def work(self) -> list[ExecutedWork]:
        """What one image multiplies in; nothing if it was not measured."""
        return work_of(self.timing.get("executed", ()))

    @property
    def illustrated(self) -> bool:
        """Whether images were generated and compared."""
        return self.quality["measured"]

    def measurement(self, name: str) -> Measurement | None:
        """The raw samples of one timing, or None if this variant has none of that name."""
        return measurement_of(self.timing, name)


def measurement_of(timing: dict[str, Any], name: str) -> Measurement | None:
    """The raw samples of that name in a timing, or None if it has none."""
    found = (item for item in timing.get("measurements", ()) if item["name"] == name)
    return next(map(Measurement.from_json, found), None)


NOT_ASKED_FOR = "not_in_set"  # the obstacle of a variant that is not in the default set


@dataclass(frozen=True)
class UnavailableVariant:
    """A declared variant that cannot be made and run here: nothing was measured of it."""

    variant: Variant
    obstacle: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """All results, in the declared order of the variants; `unavailable` apart, which have none.

    `not_asked_for` are the labels of those that nobody asked for in this run.
    """

    environment: dict[str, Any]
    variants: tuple[VariantResult, ...]
    pairs: tuple[dict[str, Any], ...]
    clock: Clock | None = None
    architectures: tuple[dict[str, Any], ...] = ()
    comparisons: tuple[dict[str, Any], ...] = ()
    primary: tuple[dict[str, Any], ...] = ()
    agreement: dict[str, Any] | None = None
    controls: dict[str, Any] = field(default_factory=dict)
    floor: dict[str, Any] = field(default_factory=dict)
    sensitivity: dict[str, Any] = field(default_factory=dict)
    unavailable: tuple[UnavailableVariant, ...] = ()
    not_asked_for: tuple[str, ...] = ()
    digests: dict[str, str | None] = field(default_factory=dict)  # the MD5 of each file, by its path in dvc.yaml

    @property
    def illustrated(self) -> bool:
        """Whether images were generated; of random weights there are none, in any format."""
        return self.baseline.illustrated

    @property
    def baseline(self) -> VariantResult:
        """The variant that every other one is compared with."""
        return next(result for result in self.variants if result.is_baseline)

    @property
    def others(self) -> tuple[VariantResult, ...]:
        """Every variant but the baseline."""
        return tuple(result for result in self.variants if not result.is_baseline)

    def label(self, name: str) -> str:
        """The label of the declared variant `name`."""
        return next(result.label for result in self.variants if result.name == name)


def load_results(reports: Path, images: Path, params: Params, quick: bool = False) -> Results:
    """Read the results of every declared variant: what depends on the model from its folder in `reports`.

    A quick look has no controls, no floor and no sensitivity.
    A missing or outdated file is a UserError that names it.
    """
    own = reports / params.model
    summary = read_json(own / "summary.json")
    rows = {row["variant"]: row for row in summary["variants"]}
    missing = {row["variant"]: row for row in summary["unavailable"]}
    for name in params.variants:
        if name not in rows | missing:
            raise UserError(f"{own / 'summary.json'} has no variant '{name}': run `dvc repro` to measure it")
    timings, clock = stated({name: read_json(own / "timing" / f"{name}.json") for name in rows}, params.baseline)
    variants = tuple(
        VariantResult(
            variant=variant,
            is_baseline=name == params.baseline,
            compression=rows[name]["compression"],
            size=read_json(own / "size" / f"{name}.json"),
            timing=timings[name],
            quality=read_json(own / "quality" / f"{name}.json"),
            generated=read_json(images / name / "images.json"),
            appearance=read_json(own / "appearance" / f"{name}.json"),
            runtime=RuntimeSpeedup(**summary["runtimes"][name]) if name in summary["runtimes"] else None,
        )
        for name, variant in params.variants.items()
        if name in rows
    )
    absent = [
        UnavailableVariant(variant, missing[name]["obstacle"])
        for name, variant in params.variants.items()
        if name in missing
    ]
    pairs, comparisons = (
        tuple(pair for pair in found if {pair["reference"], pair["variant"]} <= rows.keys() & params.variants.keys())
        for found in (read_json(own / "pairs.json")["pairs"], summary["comparisons"])
    )
    generated = {result.illustrated for result in variants}
    if len(generated) > 1:
        raise UserError(f"{own / 'quality'} has variants with and without images: run `dvc repro`")
    return Results(
        environment=read_json(reports / "environment.json"),
        variants=variants,
        clock=clock,
        pairs=pairs,
        architectures=tuple(read_json(reports / "architectures.json")["architectures"]),
        unavailable=tuple(item for item in absent if item.obstacle["reason"] != NOT_ASKED_FOR),
        not_asked_for=tuple(item.variant.label for item in absent if item.obstacle["reason"] == NOT_ASKED_FOR),
        comparisons=comparisons,
        primary=tuple(row for row in summary["primary"] if row["variant"] in params.variants),
        agreement=summary["agreement"],
        controls={} if quick else read_json(own / "controls.json"),
        floor={} if quick else read_json(own / "floor.json"),
        sensitivity={name: read_json(own / f"sensitivity/{name}.json") for name in SENSITIVITIES if not quick},
        digests=digests(reports, params.model, [result.name for result in variants]),
    )


def kind_means(pair: dict[str, Any], kinds: dict[str, str]) -> dict[str, dict[str, Any]]:
    """PSNR in dB of one pair of variants per kind of prompt, identical images counted apart.

    `kinds` maps image ids to kinds; the answer has {"psnr_db": mean or None, "images", "identical"} for each kind in
    the order of first appearance.
    """
    groups: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds.values()}
    for image in pair["per_image"]:
        groups[kinds[image["id"]]].append(image)
    return {kind: _mean(images) for kind, images in groups.items()}


def _mean(images: list[dict[str, Any]]) -> dict[str, Any]:
    values = [image["psnr_db"] for image in images if not image["identical"]]
    mean = sum(values) / len(values) if values else None
    return {"psnr_db": mean, "images": len(images), "identical": len(images) - len(values)}
