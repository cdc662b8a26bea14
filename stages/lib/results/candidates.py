"""What one may choose from: the figures of a variant that advice rests on, from this machine or another one."""

from dataclasses import dataclass
from typing import Any

from stages.lib.quality.statistics import FEWEST_FOR_SHARES
from stages.lib.results.machines import Machine, MeasuredModel, machine_title
from stages.lib.results.records import MeasuredVariant, Results
from stages.lib.results.speeds import Range, speedup_of
from stages.lib.timing.ratios import paired_ratios

SSIM_LIMITS = -1.0, 1.0
FEWEST_RESTARTS = 2  # one says nothing of others
RUNTIME_MIB = 150  # what a small runtime takes besides the model; Python with PyTorch takes more


@dataclass(frozen=True)
class Candidate:
    """One variant on one machine. Ranges are 95 % intervals. `peak_mib`: the model's share of the peak and RUNTIME_MIB.

    `speedup`, `time_s` and `peak_mib` are None where the variant was not timed, `ssim` where no image was compared;
    `psnr_db` also where all images are identical. `ssims` are those of single images. `trusted`: whether the speeds of
    its run are; if not, no two of them can be told apart. `few_images`: whether the interval of its SSIM is of too few
    to hold the true mean in 95 % of cases, as one of speeds of fewer than FEWEST_RESTARTS `restarts` is.
    """

    name: str
    label: str
    device: str
    simulated: bool
    is_baseline: bool
    compression: float
    disk_mib: float
    making_s: float
    speedup: Range | None
    time_s: Range | None
    peak_mib: float | None
    extrapolated: bool
    ssim: Range | None
    psnr_db: float | None
    ssims: tuple[float, ...]
    trusted: bool = True
    few_images: bool = False
    restarts: int = FEWEST_RESTARTS

    def told_from(self, other: "Candidate") -> bool:
        """Whether the two differ in time beyond doubt."""
        return self.trusted and not self.time_s.overlaps(other.time_s)

    def surely_meets(self, threshold: float) -> bool:
        """Whether it is supported at 95 % that its mean SSIM reaches `threshold`."""
        return self.ssim.low >= threshold and not self.few_images

    @property
    def has_interval(self) -> bool:
        """Whether anything is known of how far its mean SSIM may be off, for which it takes some images."""
        return self.ssim is not None and (self.ssim.low, self.ssim.high) != SSIM_LIMITS

    @property
    def efficiency(self) -> float | None:
        """Compression times speed-up times SSIM, 1 for the baseline; None where one is not there or SSIM is below 0."""
        if self.speedup is None or self.ssim is None or self.ssim.value < 0:
            return None
        return self.compression * self.speedup.value * self.ssim.value


@dataclass(frozen=True)
class Source:
    """The candidates that one machine gives for one model of so many `parameters`."""

    machine: str
    model: str
    model_label: str
    parameters: int
    baseline: str
    candidates: tuple[Candidate, ...]


def candidates_here(results: Results) -> tuple[Candidate, ...]:
    """Every variant that was made on this machine, in the declared order."""
    return tuple(candidate(item, item.is_baseline, item.generated["device"]) for item in results.variants)


def candidates_there(model: MeasuredModel) -> tuple[Candidate, ...]:
    """Every variant that another machine measured of one model; none if its baseline is missing there."""
    baseline = next((item for item in model.variants if item.label == model.baseline and item.timed), None)
    if baseline is None:
        return ()
    return tuple(candidate(item, item is baseline, item.variant.device) for item in model.variants)


def sources(results: Results, machines: tuple[Machine, ...], model: str, label: str) -> list[Source]:
    """This machine first, then every other one's models."""
    parameters, baseline = results.baseline.size["parameters"], results.baseline.label
    title = machine_title(results.environment)
    here = Source(title, model, label, parameters, baseline, candidates_here(results))
    there = [
        Source(other.title, found.name, found.label, found.parameters, found.baseline, candidates_there(found))
        for other in machines
        for found in other.models
    ]
    return [here, *there]


def candidate(item: MeasuredVariant, is_baseline: bool, device: str) -> Candidate:
    """The candidate of a variant."""
    timing, quality = item.timing, item.quality
    is_timed = timing["measured"]
    judged = quality.get("measured", True)
    return Candidate(
        name=item.name,
        label=item.label,
        device=timing.get("device", device),
        simulated=item.variant.simulated,
        is_baseline=is_baseline,
        compression=item.compression,
        disk_mib=item.size["disk_mib"],
        making_s=item.size["quantize_s"],
        speedup=speedup_of(timing) if is_timed else None,
        time_s=Range(timing["latency_s"], timing["latency_s_low"], timing["latency_s_high"]) if is_timed else None,
        peak_mib=timing["model_peak_mib"] + RUNTIME_MIB if is_timed else None,
        extrapolated=bool(is_timed and (timing["extrapolated"] or timing["baseline_extrapolated"])),
        ssim=ssim_range(quality, is_baseline) if judged else None,
        psnr_db=quality["psnr_db"] if judged else None,
        ssims=tuple(image["ssim"] for image in quality["per_image"]) if judged else (),
        trusted=timing.get("trusted", True),
        few_images=judged and not is_baseline and _averaged(quality) < FEWEST_FOR_SHARES,
        restarts=len(paired_ratios(timing["calls"])) if is_timed else FEWEST_RESTARTS,
    )


def _averaged(quality: dict[str, Any]) -> int:
    """How many images the mean SSIM is of."""
    found = quality.get("averages", {}).get("ssim") or {}
    return found.get("n", len(quality["per_image"]))


def ssim_range(quality: dict[str, Any], is_baseline: bool = False) -> Range:
    """The mean SSIM of a measured quality with its 95 % interval: of too few images, all that an SSIM can be."""
    mean, found = quality["ssim"], quality.get("averages", {}).get("ssim") or {}
    if is_baseline:
        return Range(mean, mean, mean)
    known = found.get("low") is not None
    return Range(mean, found["low"], found["high"]) if known else Range(mean, *SSIM_LIMITS)
