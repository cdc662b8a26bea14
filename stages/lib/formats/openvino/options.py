"""The options of back end `openvino`, and what they need of the processor."""

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from stages.lib.project.variant import SomeComponents, Variant

# The extensions of which a processor must have one to multiply in BF16, as Linux names them.
BFLOAT16_SETS = ("avx512_bf16", "amx_bf16", "bf16")
MOST_CALLS = 2000  # of a U-Net for an image


def _repeated(entries: object) -> object:
    """A list with each '4 x int8' in it written out as four entries."""
    if not isinstance(entries, list):
        return entries
    found = []
    for entry in entries:
        if len(found) > MOST_CALLS:  # told below
            break
        times, name = re.fullmatch(r"(?:([1-9]\d{0,3}) x )?(.*)", str(entry), re.DOTALL).groups()
        found += [name if times else entry] * int(times or 1)
    return found


ScheduleEntry = Literal["int8", "none", "bfloat16", "mixed", "float32"]


class Options(Variant):
    """OpenVINO's runtime on the CPU; INT8 by NNCF."""

    packages: ClassVar[tuple[str, ...]] = ("openvino", "nncf")

    backend: Literal["openvino"]
    weights: Literal["float32", "float16", "int8"]
    activations: Literal["none", "int8"] = "none"
    granularity: Literal["channel"] = "channel"
    device: Literal["cpu"] = "cpu"
    compute: Literal["float32", "bfloat16", "mixed"]
    activation_components: SomeComponents | None = None
    schedule: Annotated[
        tuple[ScheduleEntry, ...], BeforeValidator(_repeated), Field(max_length=MOST_CALLS, strict=False)
    ] = ()

    @model_validator(mode="after")
    def _keys_agree(self) -> "Options":
        if self.activation_components is not None and self.activations == "none":
            raise ValueError(
                "`activation_components` chooses where activations are INT8: only with `activations: int8`"
            )
        integers_or_not = next((entry for entry in self.schedule if entry in ("int8", "none")), None)
        if integers_or_not and self.activations == "none":
            raise ValueError(
                f"schedule '{integers_or_not}' says whether activations of the denoiser are INT8, but it has none: "
                "use float32, mixed or bfloat16"
            )
        return self

    @property
    def rounded_components(self) -> tuple[str, ...]:
        """Those of `activation_components`, else all converted ones."""
        return super().rounded_components if self.activation_components is None else self.activation_components

    @property
    def needs_calls(self) -> bool:
        """To trace networks with."""
        return True

    @property
    def needs_calibration(self) -> bool:
        """For ranges of activations."""
        return self.activations != "none"

    @property
    def call_precisions(self) -> tuple[str, ...]:
        """As `schedule` says."""
        return self.schedule

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """BF16 that the processor does not have."""
        for key, arithmetic in [("compute", self.compute), *(("schedule", item) for item in self.schedule)]:
            if arithmetic in ("bfloat16", "mixed") and not set(BFLOAT16_SETS) & set(machine["instruction_sets"]):
                sets = list(BFLOAT16_SETS)
                return {"reason": "needs_instruction_set", "key": key, "value": arithmetic, "sets": sets}
        return None
