"""The section on layers to spare: a row for each kind of format; each format that spares beside one that does not."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.lib.reporting.languages import Translate, number, percent_of
from stages.lib.reporting.numbers import figure
from stages.lib.reporting.words.names import names_of
from stages.lib.results.records import Results, VariantResult

SHOWN = 3


@dataclass(frozen=True)
class SparingRow:
    """What sparing the recommended layers of a kind of format buys: noise-to-signal ratio of the prediction."""

    name: str
    spared: int
    layers: int
    added_share: float
    before: float
    after: float
    first: tuple[str, ...]


def sparing_rows(layers: Mapping[str, Any], _: Translate) -> list[SparingRow]:
    """A row for each kind of format in the record of the stage sensitivity_layers; none in one that lacks them."""
    names, found = names_of("sparing", _), []
    for item in layers.get("sparing", ()):
        plain = next(row for row in item["curve"] if row["spared"] == 0)
        spared = next(row for row in item["curve"] if row["spared"] == item["recommended"])
        found.append(
            SparingRow(
                names[item["kind"]],
                item["recommended"],
                len(item["order"]),
                spared["bytes"] / plain["bytes"] - 1,
                plain["noise"],
                spared["noise"],
                tuple(item["order"][:SHOWN]),
            )
        )
    return found


def sparing_words(rows: list[SparingRow], results: Results, _: Translate) -> list[str]:
    """Where sparing buys most, and what it did to each format that spares layers."""
    gains = {row.before / row.after: row for row in rows if row.after}
    found = []
    if gains:
        most = gains[max(gains)]
        text = _(
            "It buys most for %(kind)s: %(spared)d of %(layers)d layers in 16 bits add %(share)s to the bytes of the "
            "weights, and the SNR rises from %(before)s to %(after)s dB."
        )
        values = {"kind": most.name, "spared": most.spared, "layers": most.layers}
        values |= {"share": percent_of(most.added_share, ".1f")}
        values |= {key: number(-10 * math.log10(getattr(most, key)), ".1f") for key in ("before", "after")}
        found.append(text % values)
    return found + [_beside(spared, plain, _) for spared, plain in sparing_pairs(results)]


def sparing_pairs(results: Results) -> list[tuple[VariantResult, VariantResult]]:
    """Every format that spares layers, with the one that differs from it in nothing else, where both have images."""
    measured = [item for item in results.others if item.illustrated]
    return [
        (spared, plain)
        for spared in measured
        for plain in measured
        if spared.variant.spare and not plain.variant.spare and _rest(spared) == _rest(plain)
    ]


def _rest(result: VariantResult) -> dict[str, Any]:
    return result.variant.model_dump(exclude={"name", "label", "default", "spare"})


def _beside(spared: VariantResult, plain: VariantResult, _: Translate) -> str:
    values = {"spared": spared.label, "plain": plain.label}
    for key, result in (("spared", spared), ("plain", plain)):
        values[f"{key}_ssim"] = figure("ssim", result.quality["averages"]["ssim"]["mean"])
        values[f"{key}_mib"] = figure("disk_mib", result.size["disk_mib"])
    text = _(
        "%(spared)s instead of %(plain)s: SSIM %(spared_ssim)s against %(plain_ssim)s, %(spared_mib)s MiB against "
        "%(plain_mib)s."
    )
    return text % values
