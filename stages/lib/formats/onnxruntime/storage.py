"""The files of an ONNX graph: written, checked against their SHA-256, read."""

import gzip
from pathlib import Path
from typing import TYPE_CHECKING

from stages.lib.formats.shared.graphs import manifest
from stages.lib.models.inventory import ONNX_CONSTANTS, ONNX_GRAPH
from stages.lib.project.files import write_bytes

if TYPE_CHECKING:
    import onnx

MANIFEST = "onnxruntime.json"
# Smaller constants, such as shapes, stay in the graph, where the runtime looks for them when it plans.
LEAST_BYTES_OUTSIDE = 1024
ALIGNMENT = 64


def write_graph(model: "onnx.ModelProto", folder: Path, component: str) -> None:
    """Store a graph below `folder` and empty it of its constants. Same graph, same bytes."""
    from onnx import numpy_helper
    from onnx.external_data_helper import set_external_data

    with (folder / component / ONNX_CONSTANTS).open("wb") as constants:
        for tensor in model.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
            size = len(tensor.raw_data)
            if size >= LEAST_BYTES_OUTSIDE:
                constants.write(bytes(-constants.tell() % ALIGNMENT))
                set_external_data(tensor, ONNX_CONSTANTS, constants.tell(), size)
                constants.write(tensor.raw_data)
                tensor.ClearField("raw_data")
                tensor.data_location = tensor.EXTERNAL
    _drop_remarks(model)
    text = model.SerializeToString(deterministic=True)
    write_bytes(folder / component / ONNX_GRAPH, gzip.compress(text, mtime=0))


def _drop_remarks(model: "onnx.ModelProto") -> None:
    """Remove what no runtime needs: shapes that it infers itself, and notes of the tools that made the graph."""
    model.graph.name = "graph"
    for part in (model, model.graph, *model.graph.node, *model.graph.initializer):
        for field in ("doc_string", "metadata_props", "value_info", "producer_name", "producer_version"):
            if field in part.DESCRIPTOR.fields_by_name:
                part.ClearField(field)


def write_manifest(folder: Path, components: list[str]) -> None:
    """Record the SHA-256 of every graph file, by its path in `folder`."""
    names = [name for component in components for name in _file_names(component)]
    manifest.write_manifest(folder / MANIFEST, names)


def _file_names(component: str) -> list[str]:
    return [f"{component}/{ONNX_GRAPH}", f"{component}/{ONNX_CONSTANTS}"]


def read_graph(folder: Path, component: str) -> bytes:
    """A stored graph without the constants outside it. A file that is not the one that was written is a UserError."""
    manifest.check_files(folder / MANIFEST, _file_names(component))
    return gzip.decompress((folder / component / ONNX_GRAPH).read_bytes())
