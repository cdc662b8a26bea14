"""What learning won back: each tuned format beside the same format without its tuning, and what tuning took."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open

from stages.lib.project.params import Variant
from stages.lib.results.records import Results, VariantResult


@dataclass(frozen=True)
class TunedFormat:
    """A format after and before tuning, and the size of the file in bytes.

    `took` is the metadata of the file: `steps`, `prompts`, `seconds` and `device`, texts; empty where it has none.
    """

    before: VariantResult
    after: VariantResult
    stored_bytes: int
    took: dict[str, str]


def tuned_formats(results: Results) -> list[TunedFormat]:
    """Every variant with a tuning whose counterpart without one was measured as well, in the declared order."""
    found = []
    for after in results.others:
        if after.variant.tuning is None or not after.illustrated:
            continue
        same = [item for item in results.others if item.variant.tuning is None and alike(item.variant, after.variant)]
        if same:
            path = Path(after.variant.tuning.path)
            with safe_open(path, framework="np") as file:
                found.append(TunedFormat(same[0], after, path.stat().st_size, dict(file.metadata() or {})))
    return found


def alike(one: Variant, other: Variant) -> bool:
    """Whether two variants differ in nothing but their names and what was learned for them."""
    return _format(one) == _format(other)


def _format(variant: Variant) -> dict[str, Any]:
    return variant.model_dump(exclude={"name", "label", "default", "tuning"})
