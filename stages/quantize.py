"""What does one variant look like, and how much room does it take on disk and in memory?

Writes the variant's model folder and its size report. The bytes on disk are explained by the declared format, or the
stage fails. The memory figures come from loading the result in a fresh process, on the CPU; those of FP8, which no CPU
runs, on the GPU. `quantize_s` and `quantize_peak_mib` are the time and the highest memory of making it, one network at
a time, on the machine that made it.
"""

import re
import time
from collections import defaultdict
from pathlib import Path

from stages.lib.formats import BACKENDS
from stages.lib.formats.shared.availability import CannotMake, obstacle_of, passed_on
from stages.lib.formats.shared.loaded_size import LoadingProcess, loaded_bytes
from stages.lib.formats.shared.sparing import spared_layers, with_recommended
from stages.lib.models.components import shared_names, stored_float_dtype
from stages.lib.models.families import END_LAYERS
from stages.lib.models.inventory import (
    StoredTensor,
    compression,
    compression_text,
    container_bytes,
    disk_bytes,
    is_graph,
    runtime_bytes,
    stored_tensors,
)
from stages.lib.models.kinds import kind_of
from stages.lib.models.reconciliation import Explanation, check_complete, explain
from stages.lib.project.command_line import command_line
from stages.lib.project.errors import run_stage
from stages.lib.project.files import whole_folder, write_json
from stages.lib.project.memory import check_memory, process_meter
from stages.lib.project.params import Variant, load_params
from stages.lib.project.variant import DTYPE_BITS

MIB = 1024**2


def main() -> None:
    """Read the command line, make the variant, write the report, say what was done."""
    arguments = command_line(
        __doc__,
        "variant",
        "base",
        "calibration",
        "environment",
        spare="the layers to spare that the stage sensitivity_layers recommends",
        output="the folder to write",
        size="the size report (JSON) to write",
    )
    start_s = time.perf_counter()
    params = load_params()
    variant, outputs = params.variant(arguments.variant), (arguments.output, arguments.size)
    if passed_on("quantize", variant, obstacle_of(arguments.environment, variant), *outputs):
        return
    try:
        with LoadingProcess(variant.name) as process:  # first of all: what it imports takes seconds, here as there
            variant = with_recommended(variant, arguments.spare)
            parameters = base_parameters(arguments.base)
            report = make(arguments.base, variant, arguments.output, parameters, arguments.calibration, process)
    except CannotMake as error:
        if variant.name == params.baseline:
            raise
        passed_on("quantize", variant, error.obstacle, *outputs)
        return
    write_json(arguments.size, report)
    base = {"disk_mib": sum(disk_bytes(arguments.base).values()) / MIB, "parameters": sum(parameters.values())}
    ratio = compression(base, report)
    left_out = report["parameters_left_out"]
    note = f", {left_out:,} parameters that generation does not need left out" if left_out else ""
    print(
        f"quantize: {variant.label}, {report['disk_mib']:.1f} MiB on disk ({compression_text(ratio)}{note}), "
        f"peak {report['quantize_peak_mib']:,.0f} MiB, {time.perf_counter() - start_s:.1f} s"
    )


def make(
    base: Path, variant: Variant, out: Path, parameters: dict[str, int], calibration: Path, process: LoadingProcess
) -> dict:
    """Write the variant's folder; the content of its size report. `parameters` are those of each component."""
    # Both take seconds to import, as what `process` imports meanwhile does.
    from stages.lib.formats.shared.choice import on_model
    from stages.lib.formats.shared.tuned import tuned_base
    from stages.lib.models.calibration import read_calls

    variant, meter, entry = on_model(variant, base), process_meter(), BACKENDS[variant.backend]
    inputs = {"calibration": read_calls(calibration)} if variant.needs_calls else {}
    peak = entry.calibrated_peak if variant.needs_calibration else entry.quantize_peak
    check_memory(peak * 4 * max(parameters.values()), f"making {variant.label}")
    with tuned_base(base, variant) as source, whole_folder(out) as folder:
        backend = entry.load_module()
        begin_s = time.perf_counter()
        backend.quantize(source, variant, folder, **inputs)
        making = {"quantize_s": time.perf_counter() - begin_s, "quantize_peak_mib": meter.peak_mib()}
        tensors = backend.inventory(folder, variant)
        check_memory(loaded_bytes(folder, variant), f"loading {variant.label}")
        report = size_report(
            variant,
            tensors=tensors,
            disk=disk_bytes(folder),
            runtime=runtime_bytes(folder),
            explained=explanations(folder, variant, tensors, entry.operators, entry.spares_ends),
            loaded=process.loaded_size(folder, "cuda" if variant.needs_gpu else "cpu"),
            bits={component: _bits(folder, component, variant) for component in parameters},
            base_parameters=parameters,
        )
        spared = [f"{part}.{name}" for part, names in spared_layers(variant, folder).items() for name in names]
    return report | {"spared": spared} | making


def base_parameters(base: Path) -> dict[str, int]:
    """How many parameters each component of the base model stores."""
    tensors = stored_tensors(base)
    return {
        component: sum(tensor.parameters for tensor in tensors if tensor.component == component)
        for component in kind_of(base).networks
    }


def explanations(
    folder: Path, variant: Variant, tensors: list[StoredTensor], operators: tuple[str, ...], spares_ends: bool
) -> dict[str, Explanation]:
    """What each component's bytes on disk consist of. A tensor that is missing, or should not be there, is a UserError.

    `operators` are those whose weights the back end always converts, but where it `spares_ends` or the variant
    spares layers. A weight that two layers share is converted in neither.
    """
    disk, container, spared = disk_bytes(folder), container_bytes(folder), spared_layers(variant, folder)
    found = {}
    for component in kind_of(folder).networks:
        where = f"variant '{variant.name}', {component}"
        check_complete(where, folder, component, variant.scales_beside)
        converted = component in variant.components
        declared = variant.stored_dtype if converted else stored_float_dtype(folder, component)
        own = [tensor for tensor in tensors if tensor.component == component]
        shared = () if is_graph(folder, component) else shared_names(folder, component).values()
        left = [*spared.get(component, ()), *(name.removesuffix(".weight") for name in shared)]
        names = [*([END_LAYERS] if spares_ends else []), *map(re.escape, left)]
        exact = rf"({'|'.join(names)})\.weight"
        found[component] = explain(where, own, declared, operators, disk[component], container[component], exact)
    return found


def _bits(folder: Path, component: str, variant: Variant) -> float:
    """Bits that a parameter of `component` is declared to have: the variant's, or those it was left with."""
    converted = component in variant.components
    return variant.bits_per_weight if converted else DTYPE_BITS[stored_float_dtype(folder, component)]


def size_report(
    variant: Variant,
    tensors: list[StoredTensor],
    disk: dict[str, int],
    runtime: dict[str, int],
    explained: dict[str, Explanation],
    loaded: dict[str, dict[str, int]],
    bits: dict[str, float],
    base_parameters: dict[str, int],
) -> dict:
    """The content of reports/M/size/V.json, from bytes on `disk` and unpacked, what explains them, and bytes in memory.

    `theoretical_mib` is what a naive count expects: every stored parameter in the declared bits, a group's with its
    share of the scale, and nothing besides.
    `parameters_left_out` are those of the base model that the variant does not store, such as a VAE's encoder where a
    back end leaves it out: a variant that has some is smaller for that reason, too. `weights_mib`, `scales_mib`,
    `unquantized_mib` and `container_mib` are what the bytes on disk consist of (stages.lib.models.reconciliation).
    """
    parameters = {
        component: sum(tensor.parameters for tensor in tensors if tensor.component == component)
        for component in base_parameters
    }
    components = [
        {
            "component": component,
            "parameters": parameters[component],
            "parameters_left_out": base_parameters[component] - parameters[component],
            "theoretical_mib": parameters[component] * bits[component] / 8 / MIB,
            "disk_mib": disk[component] / MIB,
            "runtime_mib": runtime[component] / MIB,
            "memory_mib": loaded["memory"][component] / MIB,
            "load_growth_mib": loaded["growth"][component] / MIB,
            "weights_mib": explained[component].weights / MIB,
            "scales_mib": explained[component].scales / MIB,
            "unquantized_mib": explained[component].unquantized / MIB,
            "container_mib": explained[component].container / MIB,
            "shared_tensors": explained[component].shared_tensors,
        }
        for component in base_parameters
    ]
    total = {key: sum(row[key] for row in components) for key in components[0] if key != "component"}
    return {
        "variant": variant.name,
        "label": variant.label,
        "backend": variant.backend,
        "weights": variant.weights,
        "stored_dtype": variant.stored_dtype,
        **_with_overhead(total),
        "components": [_with_overhead(row) for row in components],
        "operators": _operators(tensors),
        "linear_layers": _linear_layers(variant, tensors),
    }


def _linear_layers(variant: Variant, tensors: list[StoredTensor]) -> dict:
    """How many Linear layers the converted components have, and which of them are stored otherwise, by dtype.

    A library leaves out what it cannot take, mostly without a word. Constants of graphs are not named after layers.
    """
    layers = [
        tensor
        for tensor in tensors
        if tensor.operator == "Linear" and tensor.name.endswith(".weight") and tensor.component in variant.components
    ]
    otherwise = defaultdict(list)
    for layer in layers:
        if layer.dtype != variant.stored_dtype:
            otherwise[layer.dtype].append(f"{layer.component}.{layer.name.removesuffix('.weight')}")
    return {"total": len(layers), "otherwise": dict(sorted(otherwise.items()))}


def _with_overhead(sizes: dict) -> dict:
    return sizes | {"overhead_percent": 100 * (sizes["disk_mib"] / sizes["theoretical_mib"] - 1)}


def _operators(tensors: list[StoredTensor]) -> list[dict]:
    """One row per component, operator and dtype, components in their usual order."""
    groups: dict[tuple[str, str, str], list[StoredTensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.component, tensor.operator, tensor.dtype].append(tensor)
    components = list(dict.fromkeys(tensor.component for tensor in tensors))
    order = sorted(groups, key=lambda key: (components.index(key[0]), *key[1:]))
    return [
        {
            "component": component,
            "operator": operator,
            "dtype": dtype,
            "tensors": len(groups[component, operator, dtype]),
            "parameters": sum(tensor.parameters for tensor in groups[component, operator, dtype]),
            "stored_mib": sum(tensor.stored_bytes for tensor in groups[component, operator, dtype]) / MIB,
        }
        for component, operator, dtype in order
    ]


if __name__ == "__main__":
    run_stage(main)
