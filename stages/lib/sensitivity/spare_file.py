"""reports/M/spare.yaml: the layers to spare, in the words of each library, and for `spare: auto`."""

import io
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ruamel.yaml import YAML

from stages.lib.project.files import rounded, write_text
from stages.lib.project.params import OPTIONS
from stages.lib.project.variant import DTYPE_BITS, FLOATS, legal_values
from stages.lib.sensitivity.sparing import FLOAT8, INT4, INT8, RECOMMENDED_SHARE, W8A8

MOST_LISTED = 50  # layers in the order of a kind
MIB = 1024**2
HEADER = f"""\
# Which layers of the denoiser to leave in 16 bits, for four kinds of format: written by the stage sensitivity_layers.
#   sqnr_db      of the denoiser's prediction, measured with the first so many layers of `order` spared, others rounded
#   recommended  the first layers of `order` that together add at most {RECOMMENDED_SHARE:.0%} to the bytes of weights
#   paste        the same in each library's own words
#   weights      what `spare: auto` of a variant spares, by its `weights` and by whether it rounds activations
"""


def write_spare_file(path: Path, component: str, sparing: Sequence[Mapping] | None) -> None:
    """Write what stages.lib.sensitivity.sparing.study found of the denoiser `component`; None: nothing was measured."""
    recommended = {item["kind"]: _recommended(item) for item in sparing or ()}
    content = {
        "measured": sparing is not None,
        "component": component,
        "kinds": {item["kind"]: _entry(item) for item in sparing or ()},
        "weights": _by_weights(component, recommended),
    }
    yaml, text = YAML(), io.StringIO()
    yaml.width, yaml.representer.ignore_aliases = 2**16, lambda _: True
    yaml.dump(rounded(content), text)
    write_text(path, HEADER + text.getvalue())


def _recommended(item: Mapping) -> list[str]:
    return item["order"][: item["recommended"]]


def _entry(item: Mapping) -> dict:
    return {
        "recommended": _recommended(item),
        "paste": paste(_recommended(item), item["order"]),
        "curve": [
            {"spared": row["spared"], "mib": row["bytes"] / MIB, "sqnr_db": -10 * math.log10(row["noise"])}
            for row in item["curve"]
            if row["noise"]
        ],
        "order": item["order"][:MOST_LISTED],
    }


def paste(layers: Sequence[str], others: Sequence[str] = ()) -> dict[str, str]:
    """The argument of each library that leaves those layers alone, as Python has it.

    diffusers and NNCF look for the end of a name: one that `others` end with, as FLUX's `proj_out`, is named whole.
    """
    names = ", ".join(f'"{name}"' for name in layers)
    ends = {name for name in layers if any(other != name and f"{other}.".endswith(f"{name}.") for other in others)}
    weights = ", ".join(f'"{name}.weight"' if name in ends else f'"{name}"' for name in layers)
    start = {name: "__module" if name in ends else ".*" for name in layers}
    patterns = ", ".join(f'r"{start[name]}\\.{re.escape(name)}/.*"' for name in layers)
    return {
        "diffusers": f"modules_to_not_convert=[{weights}]",
        "bitsandbytes": f"llm_int8_skip_modules=[{names}]",
        "torchao": f"filter_fn=lambda module, name: isinstance(module, torch.nn.Linear) and name not in [{names}]",
        "nncf": f"ignored_scope=nncf.IgnoredScope(patterns=[{patterns}], validate=False)",
    }


def _by_weights(component: str, recommended: Mapping[str, list[str]]) -> dict:
    """By each legal value of `weights`, so that a variant depends on its own."""
    names = {kind: [f"{component}.{layer}" for layer in layers] for kind, layers in recommended.items()}
    legal = sorted({name for options in OPTIONS.values() for name in legal_values(options, "weights")})
    return {
        weights: {}
        if weights in FLOATS
        else {rounds: names.get(_kind(weights, rounds), []) for rounds in ("weights_only", "activations_too")}
        for weights in legal
    }


def _kind(weights: str, rounds: str) -> str:
    if DTYPE_BITS[weights] < 7:
        return INT4
    if weights == "float8":
        return FLOAT8
    return INT8 if rounds == "weights_only" else W8A8
