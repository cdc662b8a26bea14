"""What the verdicts on the study are computed from, and the shapes that all of them share."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from stages.lib.project.params import Params, Variant
from stages.lib.project.prompts import Prompt
from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.words.names import translated
from stages.lib.results.machines import Machine, MeasuredVariant, machine_title
from stages.lib.results.other_models import ComparedModel
from stages.lib.results.records import Results, VariantResult
from stages.lib.study.limits import Finding, exact_parameters

BesideVerdict = Literal["agrees", "differs", "implausible", "impossible", "meaningless", "incomparable", "unmeasured"]
Status = Literal["measured", "partly", "no"]
Answer = tuple[Status, str, tuple[str, ...]]  # the last three fields of an Outlook
SAME_RATIO = 0.03  # ratios within 3 % of each other count as the same
FORMATS = ("FP32", "FP16", "INT8 CPU", "INT8 Simulated")


@dataclass(frozen=True)
class Line:
    """One printed value, or a row of them: finished texts. `why` says by how much it differs, or proves the verdict."""

    what: str
    printed: str
    here: str
    verdict: BesideVerdict
    why: str = ""


@dataclass(frozen=True)
class Sources:
    """The study's printed values, the exact model, and this report's results.

    `findings` are the audit's, by the English name of what they judge.
    """

    printed: dict[str, Any]
    exact: dict[str, Any]
    findings: dict[str, Finding]
    params: Params
    results: Results
    prompts: tuple[Prompt, ...]
    machines: tuple[Machine, ...]
    language: str
    recommended: dict[str, Variant | None]
    _: Translate
    others: tuple[ComparedModel, ...] = ()  # other models in the same formats

    def said(self, text: dict[str, str]) -> str:
        """The study's words in the report's language: its own in Russian, a translation in any other."""
        return text.get(self.language, text["en"])

    @cached_property
    def machine(self) -> str:
        """The graphics processor of this report's machine, or its processor."""
        return machine_title(self.results.environment)

    @property
    def model_label(self) -> str:
        """What this report's model is called."""
        return translated(self.params.chosen_model.label, self._)

    @cached_property
    def same_model(self) -> bool:
        """Whether the measured networks are of the study's size, parameter for parameter."""
        return self.results.baseline.size["parameters"] == exact_parameters(self.exact)

    @cached_property
    def comparable(self) -> bool:
        """Whether absolute figures may be compared: the study's model on the study's graphics processor."""
        return self.same_model and self.printed["table_1"]["gpu"] in f"NVIDIA {self.machine}"

    @cached_property
    def counterparts(self) -> dict[str, VariantResult | None]:
        """The measured variant of each of the study's four formats, by what it is and not by its name."""
        found = {name: [r for r in self.results.variants if is_format(r.variant, name)] for name in FORMATS}
        return {name: (results[0] if results else None) for name, results in found.items()}

    @cached_property
    def of_study_size(self) -> list[tuple[Machine, dict[str, MeasuredVariant]]]:
        """Other machines that timed networks of the study's size, with their FP32 and FP16."""
        total = exact_parameters(self.exact)
        found = []
        for machine in self.machines:
            for model in machine.models:
                items = [item for item in model.variants if item.timed and item.size["parameters"] == total]
                named = {name: item for name in ("FP32", "FP16") for item in items if is_format(item.variant, name)}
                if len(named) == 2:
                    found.append((machine, named))
        return found

    def mb(self, values: Sequence[float]) -> str:
        """Sizes as the study prints them."""
        return self._("%(values)s MB") % {"values": row(values, 1)}

    def mib(self, values: Sequence[float], digits: int) -> str:
        """Sizes of 1024² bytes."""
        return self._("%(values)s MiB") % {"values": row(values, digits)}

    def unmeasured(self, what: str, printed: str) -> Line:
        """The line of a format that this report does not have."""
        return Line(what, printed, "", "unmeasured", self._("no such format in this measurement"))


@dataclass(frozen=True)
class Outlook:
    """A row of Table 14 or 15: the study's words, what the results say of them, and the chapters, by key, with it."""

    name: str
    words: str
    status: Status
    found: str
    chapters: tuple[str, ...] = ()


def is_format(variant: Variant, name: str) -> bool:
    """Whether `variant` is what the study calls `name`, whatever its own name is."""
    if variant.components is not None or variant.compile_mode:
        return False
    plain = variant.backend == "torch" and variant.activations == "none" and variant.compute != "tensorfloat32"
    return {
        "FP32": plain and variant.weights == "float32",
        "FP16": plain and variant.weights == "float16",
        "INT8 CPU": variant.backend == "torch_dynamic" and variant.weights == "int8",
        "INT8 Simulated": plain and variant.weights == "int8" and variant.simulated,
    }[name]


def row(values: Sequence[float], digits: int) -> str:
    """Values as the study's rows have them: '1,675.2 / 837.6 / 418.8'."""
    return " / ".join(number(value, f",.{digits}f") for value in values)


def changes(printed: Sequence[float], here: Sequence[float]) -> str:
    """By how many percent printed values are off: '−48.9 % / −48.9 %'."""
    return " / ".join(f"{number(100 * (a / b - 1), '+.1f')} %" for a, b in zip(printed, here, strict=True))


def same_ratio(printed: float, here: float) -> bool:
    """Whether two ratios are the same but for 3 %."""
    return abs(printed / here - 1) <= SAME_RATIO
