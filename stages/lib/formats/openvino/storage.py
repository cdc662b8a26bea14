"""The files of an OpenVINO graph: written, checked against their SHA-256, read."""

import ctypes
import gzip
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from stages.lib.formats.shared.graphs import manifest
from stages.lib.models.inventory import GRAPH, GRAPH_CONSTANTS

if TYPE_CHECKING:
    import openvino

MANIFEST = "openvino.json"
MADV_DONTNEED = 4  # man 2 madvise


def write_graph(model: "openvino.Model", folder: Path, component: str, half: bool) -> None:
    """Store a graph below `folder`; `half`: floating-point constants as FP16. Same graph, same bytes."""
    import openvino

    _name_nodes(model)
    with TemporaryDirectory(dir=folder) as temporary:
        xml = Path(temporary, "graph.xml")
        openvino.save_model(model, xml, compress_to_fp16=half)
        xml.with_suffix(".bin").replace(folder / component / GRAPH_CONSTANTS)
        (folder / component / GRAPH).write_bytes(gzip.compress(xml.read_bytes(), mtime=0))


def _name_nodes(model: "openvino.Model") -> None:
    """Replace names that count nodes made in this process: they differ from run to run."""
    model.set_friendly_name("graph")
    for number, node in enumerate(model.get_ordered_ops()):
        counted = re.fullmatch(r"(\w+_)?\d+", node.get_friendly_name())
        if counted and node.get_type_name() != "Parameter":
            node.set_friendly_name(f"{node.get_type_name()}_{number}")
        for output in node.outputs():
            names = output.get_names()
            kept = {name for name in names if not name.isdigit()}
            if kept != names:
                output.get_tensor().set_names(kept)


def write_manifest(folder: Path, components: list[str]) -> None:
    """Record the SHA-256 of every graph file, by its path in `folder`."""
    names = [name for component in components for name in _file_names(component)]
    manifest.write_manifest(folder / MANIFEST, names)


def check_manifest(folder: Path, component: str) -> None:
    """Raise a UserError that names the file unless both files of a graph are those that were written."""
    manifest.check_files(folder / MANIFEST, _file_names(component))


def _file_names(component: str) -> list[str]:
    return [f"{component}/{GRAPH}", f"{component}/{GRAPH_CONSTANTS}"]


def graph_text(folder: Path, component: str) -> bytes:
    """The XML of a graph."""
    return gzip.decompress((folder / component / GRAPH).read_bytes())


def read_graph(core: "openvino.Core", folder: Path, component: str) -> "openvino.Model":
    """A stored graph; its files are checked first. The runtime maps its constants, it does not copy them."""
    check_manifest(folder, component)
    with TemporaryDirectory() as temporary:
        xml = Path(temporary, "graph.xml")
        xml.write_bytes(graph_text(folder, component))
        return core.read_model(xml, folder / component / GRAPH_CONSTANTS)


def let_go_of_constants(folder: Path, component: str) -> None:
    """Take the mapped constants of a graph out of this process's memory; a page that is read again comes back.

    Once compiled, a graph works on its own reordered copy, but what compiling read stays resident as long as the graph
    is mapped: as much again. Linux only; elsewhere the system does so when memory is short.
    """
    if sys.platform != "linux":
        return
    path = str((folder / component / GRAPH_CONSTANTS).resolve())
    advise = ctypes.CDLL(None).madvise
    for line in Path("/proc/self/maps").read_text(encoding="utf-8").splitlines():
        span, permissions, *_, name = line.split(maxsplit=5)
        if name == path and permissions.startswith("r--"):  # never written
            start, end = (int(address, 16) for address in span.split("-"))
            advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), MADV_DONTNEED)
