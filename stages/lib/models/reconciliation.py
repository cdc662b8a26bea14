"""Do the bytes on disk follow from the declared format? What a component stores is explained, or `quantize` stops."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stages.lib.models.components import empty_component, headers, shared_names
from stages.lib.models.inventory import QUANTIZATION_SUFFIXES, StoredTensor, is_graph
from stages.lib.project.errors import UserError
from stages.lib.project.variant import DTYPE_BITS

TOLERANCE = 0.01
NAMED = 5  # how many tensors a message names
REMEDY = "This is a mistake of the back end, and nothing is written: mend it, or remove the variant from params.yaml"
# Declared as one of these, every parameter of a component is cast; integers and FP8 are for some layers' weights.
CASTS = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Explanation:
    """Bytes of one component as its declared format prescribes them; they add up to what is on disk, within 1 %.

    `weights`: parameters in the declared format. `scales`: what a runtime needs to read them. `unquantized`: everything
    else, in the dtype it has. `container`: headers of files and the text of graphs. `shared_tensors`: how many tensors
    have no bytes of their own, because they share those of another, which are counted once.
    """

    weights: float
    scales: float
    unquantized: float
    container: int
    shared_tensors: int

    @property
    def total(self) -> float:
        """All bytes that are explained."""
        return self.weights + self.scales + self.unquantized + self.container


def explain(
    where: str,
    tensors: Sequence[StoredTensor],
    declared: str,
    operators: Sequence[str],
    disk: int,
    container: int,
    exact: str = "",
) -> Explanation:
    """What `disk` bytes of files with `tensors` consist of, `container` bytes of which hold no tensor.

    `declared` is the dtype that the component is stored in; where it is no mere cast, the weights of `operators` must
    have it, but for those whose names match the regular expression `exact`. A difference of more than 1 % is a
    UserError that begins with `where` and names the tensors behind it.
    """
    parts = {"weights": 0.0, "scales": 0.0, "unquantized": 0.0}
    differences: dict[str, float] = {}
    unrounded = {tensor.name for tensor in tensors if tensor.parameters and tensor.dtype in CASTS}
    for tensor in tensors:
        expected = _expected_bytes(tensor, declared, operators, unrounded, exact)
        parts[_part(tensor, declared)] += expected
        differences[tensor.name] = tensor.stored_bytes - expected
    # Files may hold bytes that belong to no tensor, or be shorter than their tensors.
    differences["bytes of no tensor"] = disk - container - sum(tensor.stored_bytes for tensor in tensors)
    shared = sum(tensor.elements > 0 and tensor.stored_bytes == 0 for tensor in tensors)
    explanation = Explanation(**parts, container=container, shared_tensors=shared)
    if abs(disk - explanation.total) > TOLERANCE * disk:
        largest = sorted((name for name in differences if differences[name]), key=lambda name: -abs(differences[name]))
        named = ", ".join(f"'{name}' ({differences[name]:+,.0f} bytes)" for name in largest[:NAMED])
        raise UserError(
            f"{where}: {disk:,} bytes are on disk, but weights in {declared}, their scales, what is not converted and "
            f"the container are {explanation.total:,.0f} bytes. The difference is in: {named}. {REMEDY}"
        )
    return explanation


def _expected_bytes(
    tensor: StoredTensor, declared: str, operators: Sequence[str], unrounded: set[str], exact: str
) -> float:
    """The bytes that a tensor takes by the declared format, or in the dtype it has where that does not say."""
    rounded = tensor.operator in operators and tensor.name.endswith(".weight")
    chosen = declared in CASTS or (rounded and not re.fullmatch(exact, tensor.name))
    if chosen and tensor.parameters and tensor.elements:
        return tensor.parameters * DTYPE_BITS[declared] / 8
    if _owner_of_scale(tensor.name) in unrounded:
        return 0  # there is nothing to scale
    return tensor.stored_bytes


def _part(tensor: StoredTensor, declared: str) -> str:
    if tensor.parameters and (declared in CASTS or tensor.dtype not in CASTS):
        return "weights"
    # In a graph, constants that serve an operator are scales; those of shapes and indices serve none.
    if not tensor.parameters and declared not in CASTS and tensor.operator != "Other":
        return "scales"
    return "unquantized"


def _owner_of_scale(name: str) -> str | None:
    """The weight that a scale or zero point belongs to; None for other tensors."""
    return next((name.removesuffix(suffix) for suffix in QUANTIZATION_SUFFIXES if name.endswith(suffix)), None)


def check_complete(where: str, folder: Path, component: str, scaled: bool = True) -> None:
    """Raise UserError unless safetensors hold every parameter of a component and, `scaled`, a scale of rounded weights.

    A scale is far less than 1 % of the bytes. The constants of a graph are not looked into: without one of them it
    could not be read.
    """
    if is_graph(folder, component):
        return
    dtypes = {header.name: header.dtype for header in headers(folder, component)}
    parameters = [name for name, _ in empty_component(folder, component).named_parameters()]
    rounded = [name for name in parameters if scaled and dtypes.get(name, "float32") not in (*CASTS, "float64")]
    lost = [
        name
        for name in [*parameters, *(f"{name}_scale" for name in rounded)]
        if name not in dtypes.keys() | shared_names(folder, component).keys()
    ]
    if lost:
        others = f" and {len(lost) - 1} others are" if len(lost) > 1 else " is"
        raise UserError(f"{where}: tensor '{lost[0]}'{others} missing from what was stored. {REMEDY}")
