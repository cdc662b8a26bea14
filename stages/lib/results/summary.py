"""What was measured of each variant as one flat row; nothing stale is joined: it is a UserError with the remedy."""

from dataclasses import asdict
from pathlib import Path

from stages.lib.generation.image_folder import read_listing
from stages.lib.models.inventory import compression
from stages.lib.project import lineage
from stages.lib.project.errors import UserError
from stages.lib.project.files import read_json
from stages.lib.project.params import Params, Variant
from stages.lib.quality.metrics import METRIC_SOURCES
from stages.lib.results.speeds import own_ratio, stated
from stages.lib.timing.prediction import runtime_speedup

STAGE_OF = {"size": "quantize@V", "timing": "benchmark@V", "quality": "evaluate"}


def _own(source: lineage.Source) -> tuple[str, ...]:
    """The metrics that a record of that kind holds under their own names."""
    return tuple(key for key, (file, place) in METRIC_SOURCES.items() if file is source and place == key)


SIZE_KEYS = (*_own(lineage.SIZE), "parameters_left_out")
TIMING_KEYS = (*_own(lineage.TIMING), "memory_kind", "extrapolated", "baseline_extrapolated")
STATED_KEYS = ("latency_s", "speedup", "speedup_low", "speedup_high", "model_peak_mib")
QUALITY_KEYS = (*_own(lineage.QUALITY), "baseline_flagged")
# What each report must hold before anything of it is joined; what was not measured holds a reason instead.
REQUIRED_KEYS = {
    "size": ("backend", "weights", "stored_dtype", *SIZE_KEYS),
    "timing": ("measured", "fingerprint", "ratio", "executed", "baseline_executed", "calls", *TIMING_KEYS),
    "quality": ("measured", "baseline", "averages", "per_image", *QUALITY_KEYS),
}

# Obstacles that only making a variant finds, in a model (CannotMake); the others are known before, of the machine.
FOUND_IN_MODELS = (
    "not_exportable",
    "graph_refused",
    "calls_differ",
    "layers_called",
    "never_called",
    "tuned_for_another",
)


def unavailable_variants(params: Params, environment: Path, reports: Path) -> list[dict]:
    """Name, label and obstacle of each declared variant that cannot be made and run here."""
    obstacles = read_json(environment)["obstacles"]
    found = []
    for name, variant in params.variants.items():
        obstacle = read_report(reports, "size", name).get("unavailable")
        in_model = obstacle and obstacle["reason"] in FOUND_IN_MODELS and not obstacles.get(name)
        if obstacle != obstacles.get(name) and not in_model:
            raise UserError(
                f"{reports}/size/{name}.json and {environment} disagree on whether '{name}' can run here: "
                f"run `dvc repro quantize@{name}`"
            )
        if obstacle:
            found.append({"variant": name, "label": variant.label, "obstacle": obstacle})
    return found


def variant_rows(params: Params, variants: list[Variant], environment: Path, reports: Path, images: Path) -> list[dict]:
    """One flat row for each of `variants`, in their order; what was not measured is None."""
    fingerprint = read_json(environment)["fingerprint"]
    rows = []
    baseline_size = read_report(reports, "size", params.baseline)
    timings = {variant.name: read_report(reports, "timing", variant.name) for variant in variants}
    for variant in variants:
        check_timing(timings[variant.name], variant, fingerprint, reports)
    timings, _clock = stated(timings, params.baseline)
    for variant in variants:
        size, quality = (read_report(reports, kind, variant.name) for kind in ("size", "quality"))
        check_size(size, variant, reports)
        if quality["measured"] and quality["baseline"] != params.baseline:
            raise UserError(
                f"{reports}/quality/{variant.name}.json compares with '{quality['baseline']}', params.yaml has "
                f"baseline '{params.baseline}': run `dvc repro evaluate`"
            )
        listing = read_listing(images / variant.name)
        rows.append(
            {
                "variant": variant.name,
                "label": variant.label,
                "backend": variant.backend,
                "weights": variant.weights,
                "stored_dtype": variant.stored_dtype,
                "simulated": variant.simulated,
                "device": listing["device"],
                "compute": listing["compute"],
                "compression": compression(baseline_size, size),
                **{key: size[key] for key in SIZE_KEYS},
                **timing_row(timings[variant.name]),
                **quality_row(quality),
            }
        )
    return rows


def definition(variant: Variant) -> dict:
    """What makes the format and the way it runs, whatever it is called: two models have it alike or not."""
    return variant.model_dump(mode="json", exclude={"name", "label", "default"}, exclude_defaults=True)


def read_report(reports: Path, kind: str, name: str) -> dict:
    """reports/KIND/NAME.json, which must be about that variant and complete."""
    path, command = reports / kind / f"{name}.json", f"dvc repro {STAGE_OF[kind]}".replace("@V", f"@{name}")
    if not path.is_file():
        raise UserError(f"{path} is missing: run `{command}`")
    report = read_json(path)
    if not isinstance(report, dict) or report.get("variant") != name:
        raise UserError(f"{path} is not about variant '{name}': run `{command}`")
    required = REQUIRED_KEYS[kind]
    if kind == "size" and "unavailable" in report:
        required = ()
    elif report.get("measured") is False:
        required = ("reason",)
    missing = [key for key in required if key not in report]
    if missing:
        raise UserError(f"{path} has no {', '.join(missing)}: run `{command}`")
    return report


def read_pairs(reports: Path, variants: list[str]) -> list[dict]:
    """Every two of `variants` compared; the UserError says that the stage `evaluate` has not seen one of them."""
    pairs = read_json(reports / "pairs.json")["pairs"]
    found = [pair for pair in pairs if {pair["reference"], pair["variant"]} <= set(variants)]
    if len(found) != len(variants) * (len(variants) - 1) // 2:
        raise UserError(f"{reports / 'pairs.json'} is not of all declared variants: run `dvc repro evaluate`")
    return found


def timing_row(timing: dict) -> dict:
    """The row's part that was timed: every figure, or None everywhere and the reason."""
    measured = timing["measured"]
    return {
        **{key: timing[key] if measured else None for key in (*TIMING_KEYS, *STATED_KEYS)},
        "restarts": timing["ratio"]["restarts"] if measured else None,
        "timing_reason": None if measured else timing["reason"],
    }


def runtime_speedups(variants: list[Variant], baseline: str, reports: Path) -> dict[str, dict]:
    """By variant: its speed-up over FP32 in its own runtime, where that is another of `variants` and timed."""
    timings, clock = stated({item.name: read_report(reports, "timing", item.name) for item in variants}, baseline)
    found = {}
    for variant in variants:
        reference = runtime_reference(variants, baseline, variant)
        if reference is None:
            continue
        alone, own = (timings[name] for name in (reference.name, variant.name))
        if alone["measured"] and own["measured"]:
            speedup = runtime_speedup(reference.name, own_ratio(own), own_ratio(alone), clock.band)
            found[variant.name] = asdict(speedup)
    return found


def runtime_reference(variants: list[Variant], baseline: str, variant: Variant) -> Variant | None:
    """The variant that runs FP32 in the back end of `variant`; None if there is none but itself or the baseline."""
    for other in variants:
        same = (other.backend, other.device) == (variant.backend, variant.device)
        exact = (other.weights, other.activations, other.compute) == ("float32", "none", "float32")
        if same and exact and not other.simulated:
            return None if other.name in (variant.name, baseline) else other
    return None


def quality_row(quality: dict) -> dict:
    """The row's part that images give: every figure, or None everywhere and the reason."""
    measured = quality["measured"]
    return {
        **{key: quality[key] if measured else None for key in QUALITY_KEYS},
        "quality_reason": None if measured else quality["reason"],
    }


def check_size(size: dict, variant: Variant, reports: Path) -> None:
    """UserError if the inventory is of another format than params.yaml now asks for."""
    for key in ("backend", "weights", "stored_dtype"):
        if size[key] != getattr(variant, key):
            raise UserError(
                f"{reports}/size/{variant.name}.json has {key} '{size[key]}', params.yaml asks for "
                f"'{getattr(variant, key)}': run `dvc repro quantize@{variant.name}`"
            )


def check_timing(timing: dict, variant: Variant, fingerprint: str, reports: Path) -> None:
    """UserError if the timing was taken on another machine, or if a simulated format has one."""
    path, remedy = f"{reports}/timing/{variant.name}.json", f"run `dvc repro benchmark@{variant.name}`"
    if timing["measured"] == variant.simulated:
        state = "has a timing" if timing["measured"] else "has no timing"
        kind = "simulated" if variant.simulated else "not simulated"
        raise UserError(f"{path} {state}, but params.yaml says that '{variant.name}' is {kind}: {remedy}")
    if timing["measured"] and timing["fingerprint"] != fingerprint:
        raise UserError(
            f"{path} was measured on the machine {timing['fingerprint']}, environment.json describes "
            f"{fingerprint}: {remedy}"
        )
