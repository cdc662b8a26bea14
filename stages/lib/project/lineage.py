"""Where the figures of the report come from: the stage and the file of each table, chart and metric.

M stands for the key of the model, V for each format. What a person wrote (params.yaml, the prompts, the study's printed
figures) has no stage.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stages.lib.project.lock_file import digest


@dataclass(frozen=True)
class Source:
    """A file with M in place of a model, and the stage that writes it, both with V in place of a format.

    No stage: a person wrote it.
    """

    file: str
    stage: str = ""

    @property
    def pattern(self) -> str:
        """The files of all formats, as a shell would name them."""
        return self.file.replace("/V", "/*")

    @property
    def step(self) -> str:
        """The stage without its format."""
        return self.stage.partition("@")[0]

    def of(self, model: str, variant: str = "V") -> "Source":
        """The same for one model, and for one format if it is given."""
        file = self.file.replace("/M/", f"/{model}/").replace("/V", f"/{variant}")
        return Source(file, self.stage.replace("@V", f"@{variant}"))


SIZE = Source("reports/M/size/V.json", "quantize@V")
TIMING = Source("reports/M/timing/V.json", "benchmark@V")
QUALITY = Source("reports/M/quality/V.json", "evaluate")
APPEARANCE = Source("reports/M/appearance/V.json", "evaluate")
IMAGES = Source("data/runs/M/images/V", "generate@V")
SUMMARY = Source("reports/M/summary.json", "summarize")
ENVIRONMENT = Source("reports/environment.json", "environment")
ARCHITECTURES = Source("reports/architectures.json", "architectures")
FLOOR = Source("reports/M/floor.json", "floor")
CONTROLS = Source("reports/M/controls.json", "controls")
COMPONENTS = Source("reports/M/sensitivity/components.json", "sensitivity_components")
STEPS = Source("reports/M/sensitivity/steps.json", "sensitivity_steps")
LAYERS = Source("reports/M/sensitivity/layers.json", "sensitivity_layers")
BASE = Source("data/runs/M/models/base", "download")
MACHINES = Source("reports/machines")
OTHER_MODELS = Source("reports/M/compared.json", "compare")
PARAMS = Source("params.yaml")
PROMPTS = Source("data/prompts.csv")
STUDY = Source("data/study")
METRIC_TABLE = Source("stages/lib/quality/metrics.csv")
PIPELINE = Source("dvc.yaml")

OF_VARIANTS = (SIZE, TIMING, QUALITY, APPEARANCE)
SINGLE = (SUMMARY, ENVIRONMENT, ARCHITECTURES, FLOOR, CONTROLS, COMPONENTS, STEPS, LAYERS)

# Every table, figure and chart of the report by its key in stages/lib/reporting/outline.py.
SOURCES: dict[str, tuple[Source, ...]] = {
    "table-machine": (ENVIRONMENT,),
    "table-formats": (PARAMS, SIZE, SUMMARY),
    "table-prompts": (PROMPTS, PARAMS),
    "table-sizes": (SIZE,),
    "table-overhead": (SIZE,),
    "table-performance": (TIMING, SUMMARY),
    "table-quality": (QUALITY,),
    "table-primary": (SUMMARY,),
    "table-agreement": (SUMMARY,),
    "table-kinds": (SUMMARY,),
    "table-appearance": (APPEARANCE,),
    "table-floor": (FLOOR,),
    "table-distances": (QUALITY, FLOOR),
    "table-alignment": (QUALITY,),
    "table-sets": (QUALITY, FLOOR),
    "table-comparisons": (SUMMARY,),
    "table-safety": (APPEARANCE,),
    "table-controls": (CONTROLS,),
    "table-detection": (CONTROLS, FLOOR),
    "table-coverage": (SIZE, TIMING),
    "table-why": (TIMING, SUMMARY),
    "table-what-runs": (ENVIRONMENT, PARAMS),
    "table-components": (COMPONENTS,),
    "table-probe_points": (COMPONENTS,),
    "table-budgets": (LAYERS,),
    "table-sparing": (LAYERS,),
    "table-tradeoff": (SIZE, TIMING, QUALITY),
    "chart-tradeoff": (SIZE, TIMING, QUALITY),
    "table-recommendations": (SIZE, TIMING, QUALITY, MACHINES, PARAMS, STUDY),
    "table-costs": (TIMING, QUALITY, PARAMS),
    "table-future": (STUDY,),
    "table-prospects": (STUDY,),
    "table-formulas": (STUDY,),
    "table-audit": (STUDY,),
    "table-models": (SIZE, TIMING, OTHER_MODELS),
    "table-models-formats": (SIZE, TIMING, QUALITY, OTHER_MODELS),
    "table-models-uses": (SIZE, TIMING, QUALITY, OTHER_MODELS, PARAMS),
    "table-models-damage": (COMPONENTS, STEPS, OTHER_MODELS),
    "table-models-kinds": (LAYERS, OTHER_MODELS),
    "table-models-rules": (SIZE, TIMING, QUALITY, COMPONENTS, STEPS, LAYERS, OTHER_MODELS, PARAMS),
    "chart-models": (QUALITY, OTHER_MODELS),
    "table-architecture-sizes": (ARCHITECTURES,),
    "table-architecture-overhead": (ARCHITECTURES,),
    "table-samples": (TIMING,),
    "table-all-prompts": (QUALITY, PROMPTS),
    "table-measures": (METRIC_TABLE,),
    "table-software": (ENVIRONMENT,),
    "figure-grid": (IMAGES,),
    "figure-rounding": (BASE,),
    "figure-visual": (IMAGES, QUALITY),
    "chart-pipeline": (PIPELINE,),
    "chart-sizes": (SIZE,),
    "chart-speed": (TIMING,),
    "chart-split": (TIMING,),
    "chart-psnr": (QUALITY,),
    "chart-trajectory": (QUALITY, FLOOR),
    "chart-shares": (COMPONENTS,),
    "chart-steps": (STEPS,),
    "chart-blocks": (LAYERS,),
    "chart-layers": (LAYERS,),
    "chart-sparing": (LAYERS,),
    "chart-calls": (TIMING,),
    "chart-denoisers": (MACHINES,),
}


def sources_of(key: str, model: str) -> tuple[Source, ...]:
    """What a table, figure or chart is made of; those of other machines, which are numbered, come from their folder."""
    if key.startswith("table-machine-"):
        return (MACHINES,)
    return tuple(source.of(model) for source in SOURCES.get(key, ()))


def grouped(keys: Iterable[str], model: str) -> dict[tuple[Source, ...], list[str]]:
    """The keys of tables, figures and charts by what they are made of, in the order of first appearance."""
    groups: dict[tuple[Source, ...], list[str]] = {}
    for key in keys:
        if found := sources_of(key, model):
            groups.setdefault(found, []).append(key)
    return groups


def digests(reports: Path, model: str, variants: Iterable[str]) -> dict[str, str | None]:
    """The digest of every file of `reports` that the report reads, by its path as dvc.yaml has it."""
    sources = [source.of(model) for source in SINGLE]
    sources += [source.of(model, name) for name in variants for source in OF_VARIANTS]
    return {source.file: digest(reports / Path(source.file).relative_to("reports")) for source in sources}
