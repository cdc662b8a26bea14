"""What the stored graphs hold: every constant, its bytes, and the parameter of the base model that it stands for."""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from xml.etree import ElementTree

from stages.lib.formats.openvino.storage import check_manifest, graph_text
from stages.lib.formats.shared.choice import on_model
from stages.lib.formats.shared.graphs.parameters import ParameterAccounting
from stages.lib.models.inventory import StoredTensor, stored_component
from stages.lib.models.kinds import kind_of
from stages.lib.project.params import Variant

DTYPES = {
    "f64": "float64",
    "f32": "float32",
    "f16": "float16",
    "bf16": "bfloat16",
    "i8": "int8",
    "u8": "uint8",
    "i32": "int32",
    "i64": "int64",
    "boolean": "bool",
}
# From a weight to the operation that uses it, the graph may convert, scale or reshape it.
ON_THE_WAY = {"Convert", "Subtract", "Multiply", "FakeQuantize", "Reshape", "Transpose", "Unsqueeze", "Squeeze"}
USERS = {
    "Convolution": "Conv2d",
    "MatMul": "Linear",
    "Gather": "Embedding",
    "GroupNormalization": "Normalization",
    "MVN": "Normalization",
}


@dataclass(frozen=True)
class Node:
    """One operation of a graph: its kind, its name, the constant it may be, and which node feeds or follows it."""

    kind: str
    name: str
    data: dict[str, str]
    sources: list[str]
    followers: list[str]


def inventory(folder: Path, variant: Variant) -> list[StoredTensor]:
    """What the folder stores, constant by constant. A file that was changed is a UserError."""
    tensors = []
    variant = on_model(variant, folder)
    for component in kind_of(folder).networks:
        if component in variant.components:
            check_manifest(folder, component)
            tensors += graph_tensors(folder, component)
        else:
            tensors += stored_component(folder, component)
    return tensors


def graph_tensors(folder: Path, component: str) -> list[StoredTensor]:
    """Every constant of a component's graph, the bytes of equal ones once, and the safety checker's thresholds.

    A parameter that the graph folds or drops has a row without bytes, see stages.lib.formats.shared.graphs.parameters.
    """
    accounting = ParameterAccounting(folder, component)
    tensors, ranges = [], set()
    nodes = _nodes(graph_text(folder, component))
    for node in nodes.values():
        if node.kind != "Const":
            continue
        elements = prod(int(size) for size in re.findall(r"\d+", node.data["shape"]))
        span = node.data["offset"], node.data["size"]
        if span in ranges:
            dtype = DTYPES[node.data["element_type"]]
            tensors.append(StoredTensor(component, node.name, _operator(node, nodes), elements, 0, dtype, 0))
            continue
        ranges.add(span)
        dtype, stored_bytes = DTYPES[node.data["element_type"]], int(node.data["size"])
        name = _parameter_name(node, nodes)
        if accounting.stands_for(name, elements):
            tensors.append(accounting.claimed(name, elements, dtype, stored_bytes))
        else:
            operator = _operator(node, nodes)
            tensors.append(StoredTensor(component, node.name, operator, elements, 0, dtype, stored_bytes))
    return tensors + accounting.rest()


def _nodes(text: bytes) -> dict[str, Node]:
    """The operations of a graph by their id, in the order of the file."""
    root = ElementTree.fromstring(text)
    sources, followers = defaultdict(list), defaultdict(list)
    for edge in root.iter("edge"):
        start, end = edge.attrib["from-layer"], edge.attrib["to-layer"]
        sources[end].append(start)
        followers[start].append(end)
    nodes = {}
    for layer in root.iter("layer"):
        data, id = layer.find("data"), layer.attrib["id"]
        attributes = {} if data is None else dict(data.attrib)
        nodes[id] = Node(layer.attrib["type"], layer.attrib["name"], attributes, sources[id], followers[id])
    return nodes


def _users(node: Node, nodes: dict[str, Node]) -> Iterator[Node]:
    """The operations that a constant serves, through those on the way. Not through a rounded activation."""
    for id in node.followers:
        user = nodes[id]
        if user.kind not in ON_THE_WAY or not _is_constant(user, nodes):
            yield user
        else:
            yield from _users(user, nodes)


def _is_constant(node: Node, nodes: dict[str, Node]) -> bool:
    return node.kind == "Const" or (bool(node.sources) and all(_is_constant(nodes[id], nodes) for id in node.sources))


def _operator(node: Node, nodes: dict[str, Node]) -> str:
    """The operator that a constant without a parameter's name serves; shapes and indices serve none."""
    if node.data["element_type"] in ("i32", "i64", "boolean"):
        return "Other"
    user = next(_users(node, nodes), None)
    if user is None:
        return "Other"
    kinds = [user.kind, *(nodes[id].kind for id in user.sources)]
    return next((USERS[kind] for kind in kinds if kind in USERS), "Other")


def _parameter_name(node: Node, nodes: dict[str, Node]) -> str | None:
    """The base model's name of what a constant holds: its own, or the weight or bias of the layer that uses it."""
    own = re.match(r"self\.network\.(.+?)(_compressed.*)?$", node.name)
    if own:
        return own[1]
    if node.data["element_type"] not in ("f32", "f16", "i8"):
        return None
    # Scales, too, lead to the layer; their number of elements is not that of its weight.
    user = next(_users(node, nodes), None)
    layer = user and re.match(r"__module\.network\.([^/]+)/", user.name)
    if not layer:
        return None
    role = {"Convolution": "weight", "MatMul": "weight", "Gather": "weight", "Multiply": "weight", "Add": "bias"}
    return f"{layer[1]}.{role[user.kind]}" if user.kind in role else None
