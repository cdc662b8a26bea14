"""What does one variant look like, and how much room does it take on disk and in memory?

Writes the variant's model folder and its size report. The memory figures come from loading the result on the CPU;
those of FP8, which no CPU runs, on the GPU.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path

from stages.lib.backends import BACKENDS
from stages.lib.calibration import read_inputs
from stages.lib.components import stored_float_dtype
from stages.lib.errors import run_stage
from stages.lib.files import whole_folder, write_json
from stages.lib.inventory import StoredTensor, disk_bytes, memory_bytes, stored_tensors
from stages.lib.metrics import compression
from stages.lib.params import COMPONENTS, DTYPE_BITS, Variant, load_params

MIB = 1024**2


def main() -> None:
    """Read the command line, make the variant, write the report, say what was done."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", required=True, help="a key of `variants` in params.yaml")
    parser.add_argument("--base", type=Path, required=True, help="the checked pipeline folder")
    parser.add_argument("--calibration", type=Path, required=True, help="inputs that the stage `calibrate` collected")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write")
    parser.add_argument("--size", type=Path, required=True, help="the size report (JSON) to write")
    arguments = parser.parse_args()
    start_s = time.perf_counter()
    variant = load_params().variant(arguments.variant)
    entry = BACKENDS[variant.backend]
    backend = entry.load_module()
    needs_ranges = entry.calibrated and variant.activations != "none"
    inputs = {"calibration": read_inputs(arguments.calibration)} if needs_ranges else {}
    with whole_folder(arguments.output) as folder:
        backend.quantize(arguments.base, variant, folder, **inputs)
        pipeline = backend.load(folder, variant, "cuda" if variant.weights == "float8" else "cpu")
        report = size_report(
            variant,
            tensors=backend.inventory(folder, variant),
            disk=disk_bytes(folder),
            memory={component: memory_bytes(getattr(pipeline, component)) for component in COMPONENTS},
            bits={component: _bits(folder, component, variant) for component in COMPONENTS},
            base_parameters=base_parameters(arguments.base),
        )
    write_json(arguments.size, report)
    smaller = compression({"disk_mib": sum(disk_bytes(arguments.base).values()) / MIB}, report)
    left_out = report["parameters_left_out"]
    note = f", {left_out:,} parameters that drawing does not need left out" if left_out else ""
    print(
        f"quantize: {variant.label}, {report['disk_mib']:.1f} MiB on disk ({smaller:.2f}x smaller{note}), "
        f"{time.perf_counter() - start_s:.1f} s"
    )


def base_parameters(base: Path) -> dict[str, int]:
    """How many parameters each component of the base model stores."""
    tensors = stored_tensors(base)
    return {
        component: sum(tensor.parameters for tensor in tensors if tensor.component == component)
        for component in COMPONENTS
    }


def _bits(folder: Path, component: str, variant: Variant) -> float:
    """Bits that a parameter of `component` is declared to have: the variant's, or those it was left with."""
    converted = component in variant.components
    return variant.bits_per_weight if converted else DTYPE_BITS[stored_float_dtype(folder, component)]


def size_report(
    variant: Variant,
    tensors: list[StoredTensor],
    disk: dict[str, int],
    memory: dict[str, int],
    bits: dict[str, float],
    base_parameters: dict[str, int],
) -> dict:
    """The content of reports/size/V.json, from bytes on `disk` and in `memory` and `bits` a parameter per component.

    `theoretical_mib` is what a naive count expects: every stored parameter in the declared bits, a group's with its
    share of the scale, and nothing besides.
    `parameters_left_out` are those of the base model that the variant does not store, such as a VAE's encoder where a
    back end leaves it out: a variant that has some is smaller for that reason, too.
    """
    parameters = {
        component: sum(tensor.parameters for tensor in tensors if tensor.component == component)
        for component in COMPONENTS
    }
    theoretical = {component: parameters[component] * bits[component] / 8 for component in COMPONENTS}
    components = [
        {
            "component": component,
            "parameters_left_out": base_parameters[component] - parameters[component],
            **_sizes(parameters[component], theoretical[component], disk[component], memory[component]),
        }
        for component in COMPONENTS
    ]
    return {
        "variant": variant.name,
        "label": variant.label,
        "backend": variant.backend,
        "weights": variant.weights,
        "stored_dtype": variant.stored_dtype,
        "parameters_left_out": sum(base_parameters.values()) - sum(parameters.values()),
        **_sizes(*(sum(part.values()) for part in (parameters, theoretical, disk, memory))),
        "components": components,
        "operators": _operators(tensors),
    }


def _sizes(parameters: int, theoretical_bytes: float, disk_bytes: int, memory_bytes: int) -> dict:
    return {
        "parameters": parameters,
        "theoretical_mib": theoretical_bytes / MIB,
        "disk_mib": disk_bytes / MIB,
        "memory_mib": memory_bytes / MIB,
        "overhead_percent": 100 * (disk_bytes / theoretical_bytes - 1),
    }


def _operators(tensors: list[StoredTensor]) -> list[dict]:
    """One row per component, operator and dtype, components in their usual order."""
    groups: dict[tuple[str, str, str], list[StoredTensor]] = defaultdict(list)
    for tensor in tensors:
        groups[tensor.component, tensor.operator, tensor.dtype].append(tensor)
    order = sorted(groups, key=lambda key: (COMPONENTS.index(key[0]), *key[1:]))
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
