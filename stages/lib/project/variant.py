"""What every numeric format has, whatever back end makes and runs it: the base of each back end's options."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

DTYPE_BITS = {"float32": 32, "float16": 16, "bfloat16": 16, "float8": 8, "int8": 8, "int6": 6, "int4": 4} | {
    "nf4": 4, "fp4": 4, "uint4": 4, "q8_0": 8.5, "q5_1": 6, "q5_k": 5.5, "q5_0": 5.5, "q4_k": 4.5, "q4_0": 4.5,
}  # fmt: skip
FLOATS = ("float32", "float16", "bfloat16")
GROUP_SCALE_BITS = 16
AUTO = "auto"  # of `spare`: the layers that the stage `sensitivity_layers` recommends for the format


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("give it a text")
    return text


def _auto_as_list(value: Any) -> Any:
    return [AUTO] if value == AUTO else value


def _each_once(items: tuple[Any, ...]) -> tuple[Any, ...]:
    twice = next((item for item in items if items.count(item) > 1), None)
    if twice is not None:
        raise ValueError(f"'{twice}' stands there twice: write it once")
    return items


Label = Annotated[str, Field(max_length=100, description="it is a cell of tables"), AfterValidator(_not_blank)]
EachOnce = AfterValidator(_each_once)
Device = Literal["auto", "cpu", "cuda"]
# Roles (denoiser, decoder, text_encoders, safety_checker) or a model's own names: which there are, only a model tells.
ComponentName = Annotated[str, Field(max_length=100)]
SomeComponents = Annotated[tuple[ComponentName, ...], Field(min_length=1, max_length=20, strict=False), EachOnce]

Patterns = Annotated[
    tuple[Annotated[str, Field(min_length=1, max_length=200)], ...],
    BeforeValidator(_auto_as_list),
    Field(max_length=1000, strict=False, description="a list of names of layers or modules, or auto"),
    EachOnce,
]


class Section(BaseModel):
    """A part of params.yaml: no unknown keys, no conversions, no change once it is read."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tuning(Section):
    """A file of changes of the FP32 weights, learned for one format (stages.lib.models.tuning), and its digest."""

    path: Annotated[str, Field(max_length=1000)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="64 hexadecimal digits, as sha256sum prints")]


class Variant(Section):
    """One numeric format and the way it runs. `name` is its key in params.yaml.

    A back end's options (class `Options` of stages/lib/formats/<backend>/options.py) narrow the keys below to what it
    can do, as Literals, and add keys of its own. What other rooms ask of any variant has an answer here.

    `components` is what params.yaml says, None for all; where a model is at hand, stages.lib.formats.shared.choice puts
    the names of its networks there.
    """

    packages: ClassVar[tuple[str, ...]] = ()  # what pip installs for it beyond PyTorch and diffusers; optional
    can_spare: ClassVar[bool] = True  # whether single layers can be left in floating point

    name: str
    label: Label
    backend: str
    weights: str
    activations: str = "none"
    granularity: str = "channel"
    components: SomeComponents | None = None
    device: Device = "auto"
    compute: str = "auto"
    default: bool = True
    tuning: Tuning | None = None
    spare: Patterns = ()
    simulated: Literal[False] = False

    @model_validator(mode="after")
    def _integer_activations_have_integer_weights(self) -> "Variant":
        if self.activations.startswith("int") and "int" not in self.weights:
            raise ValueError(
                f"activations '{self.activations}' need integer weights: set `weights: {self.activations}`"
            )
        return self

    @model_validator(mode="after")
    def _spares_what_it_would_round(self) -> "Variant":
        if self.spare and not self.can_spare:
            raise ValueError(f"`spare`: back end '{self.backend}' converts all layers or none: remove it")
        if self.spare and self.weights in FLOATS:
            raise ValueError(f"`spare` leaves layers in floating point, and weights '{self.weights}' are: remove it")
        return self

    @property
    def rounded_components(self) -> tuple[str, ...]:
        """The components whose activations are rounded, of a variant whose `components` are a model's networks."""
        return () if self.activations == "none" else self.components or ()

    @property
    def needs_calls(self) -> bool:
        """Whether making it takes examples of calls: for ranges or, where it is traced, for what calls look like."""
        return self.needs_calibration

    @property
    def needs_calibration(self) -> bool:
        """Whether `quantize` takes ranges or choices from inputs of the FP32 pipeline."""
        return False

    @property
    def needs_gpu(self) -> bool:
        """Whether no CPU runs it."""
        return False

    @property
    def compile_mode(self) -> bool | str:
        """How torch.compile is used: not, in the usual way (True), by blocks, or in a mode that records CUDA graphs."""
        return False

    @property
    def call_precisions(self) -> tuple[str, ...]:
        """The precision of each of the denoiser's first calls of an image, as far as they have one of their own."""
        return ()

    @property
    def stored_dtype(self) -> str:
        """The dtype that weights have on disk: simulated integers are stored as FP16."""
        return "float16" if self.simulated else self.weights

    @property
    def scaled(self) -> bool:
        """Whether weights are rounded to steps of a scale, which `granularity` says how many of them share."""
        return self.weights not in FLOATS

    @property
    def scales_beside(self) -> bool:
        """Whether scales are stored as tensors of their own beside the weights, if those are rounded to steps."""
        return True

    @property
    def scale_group_size(self) -> int | None:
        """How many consecutive input elements of an output channel share a scale; None where no groups do."""
        return None

    @property
    def bits_per_weight(self) -> float:
        """The declared bits of a weight, for a group with its share of an FP16 scale: 4.25 for int4 by 64.

        The scale of a whole tensor or channel is shared by so many weights that it is left out.
        """
        return DTYPE_BITS[self.weights] + (GROUP_SCALE_BITS / self.scale_group_size if self.scale_group_size else 0)

    def obstacle(self, device: str, machine: Mapping[str, Any]) -> dict[str, Any] | None:
        """What keeps it from running on `device` of `machine` (the part of environment.json), though installed.

        A record: {"reason": a code that stages.lib.reporting.words.obstacle_words has words for, and its values}.
        """
        return None


def legal_values(model: type[BaseModel], key: str) -> tuple[Any, ...]:
    """The values that a key declared as a Literal may have."""
    return get_args(model.model_fields[key].annotation)
