"""Can the numbers that the study printed be right? Each check is arithmetic on its tables and on exact model sizes.

`data/study/printed.json` holds what the study prints, `data/study/stable_diffusion_v1_5.json` the exact parameter
counts and operations of the model it measured. No verdict is stored: each one is computed, here where a table
contradicts itself, in stages.lib.study.limits where it contradicts the model or the hardware.
"""

from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.project.files import read_json
from stages.lib.reporting.languages import NO_BREAK_SPACE, Translate, number
from stages.lib.reporting.words.names import rating_names
from stages.lib.study import conclusions, limits
from stages.lib.study.limits import Finding, near


def audit(folder: Path, _: Translate) -> list[Finding]:
    """Every check on the study's tables, in the order of the tables. `folder` holds the two JSON files."""
    printed, model = read_json(folder / "printed.json"), read_json(folder / "stable_diffusion_v1_5.json")
    checks = (limits.sizes, _sums, limits.dynamic, limits.theoretical, _overhead, _efficiency, _speedups)
    checks += (limits.memory, limits.halves, conclusions.cpu_memory, limits.gpu_time, limits.cpu_time)
    checks += (_ratings, limits.fid)
    checks += (_losses, _loss_means, conclusions.quality_share, _trade_off, conclusions.recommended, _returns)
    return [finding for check in checks for finding in check(printed, model, _)]


def _sums(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The total line is the sum of its column."""
    table = printed["table_4"]
    columns = [*table["formats"], "parameters_million"]
    sums = {key: sum(row[key] for row in table["components"].values()) for key in columns}
    fits = all(near(table["total"][key], sums[key], 0.11) for key in columns)
    yield Finding(
        "totals",
        _("Table 4, totals"),
        " / ".join(number(table["total"][key], ",.1f") for key in columns),
        _("the columns add up to %(sums)s") % {"sums": " / ".join(number(sums[key], ",.1f") for key in columns)},
        "agrees" if fits else "impossible",
    )


def _overhead(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    table = printed["table_5"]
    computed = {key: 100 * (table["real"][key] / table["theoretical"][key] - 1) for key in table["real"]}
    fits = all(near(table["overhead_percent"][key], computed[key], 0.06) for key in computed)
    yield Finding(
        "overhead",
        _("Table 5, overhead"),
        " / ".join(f"{number(value, '.1f')}{NO_BREAK_SPACE}%" for value in table["overhead_percent"].values()),
        _("its own sizes give %(values)s")
        % {"values": " / ".join(f"{number(value, '.1f')}{NO_BREAK_SPACE}%" for value in computed.values())},
        "agrees" if fits else "differs",
    )


def _efficiency(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Efficiency = real compression over theoretical compression."""
    table = printed["table_5"]
    real, theory = table["real"], table["theoretical"]
    computed = {key: 100 * (real["FP32"] / real[key]) / (theory["FP32"] / theory[key]) for key in real}
    fits = all(near(table["efficiency_percent"][key], computed[key], 0.06) for key in computed)
    yield Finding(
        "compression-efficiency",
        _("Table 5, compression efficiency"),
        " / ".join(f"{number(value, '.1f')}{NO_BREAK_SPACE}%" for value in table["efficiency_percent"].values()),
        _("its own sizes give %(values)s")
        % {"values": " / ".join(f"{number(value, '.1f')}{NO_BREAK_SPACE}%" for value in computed.values())},
        "agrees" if fits else "differs",
    )


def _speedups(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    table = printed["table_6"]
    computed = {key: table["FP32"]["seconds"] / row["seconds"] for key, row in table.items()}
    fits = all(near(row["speedup"], computed[key], 0.006) for key, row in table.items())
    yield Finding(
        "speedups",
        _("Table 6, speed-up"),
        " / ".join(f"{number(row['speedup'], '.2f')}×" for row in table.values()),
        _("its own times give %(values)s")
        % {"values": " / ".join(f"{number(value, '.2f')}×" for value in computed.values())},
        "agrees" if fits else "differs",
    )


def _ratings(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    bands = sorted(printed["psnr_bands"].items(), key=lambda item: -item[1])
    for name, row in printed["table_7"].items():
        if row["psnr_db"] is None:
            continue
        band = next((word for word, bound in bands if row["psnr_db"] >= bound), "poor")
        yield Finding(
            f"rating-{name}",
            _("Table 7, rating of %(format)s") % {"format": name},
            _("%(psnr)s dB, “%(rating)s”")
            % {"psnr": number(row["psnr_db"], ".1f"), "rating": rating_names(_)[row["rating"]]},
            _("by the study's own bands %(psnr)s dB is “%(band)s”")
            % {"psnr": number(row["psnr_db"], ".1f"), "band": rating_names(_)[band]},
            "agrees" if band == row["rating"] else "differs",
        )


def _losses(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The loss from FP16 to INT8 in Table 8 against the difference of the means in Table 7."""
    table = printed["table_7"]
    difference = table["INT8 CPU"]["psnr_db"] - table["FP16"]["psnr_db"]
    claimed = printed["table_8"]["mean"][2]
    yield Finding(
        "loss",
        _("Table 8, mean loss from FP16 to INT8"),
        _("%(loss)s dB") % {"loss": number(claimed, ".1f")},
        _(
            "Table 7 gives %(int8)s − %(fp16)s = %(difference)s dB; a loss against FP32 itself, whose PSNR is "
            "unbounded, has no value"
        )
        % {
            "int8": number(table["INT8 CPU"]["psnr_db"], ".1f"),
            "fp16": number(table["FP16"]["psnr_db"], ".1f"),
            "difference": number(difference, ".1f"),
        },
        "agrees" if near(claimed, difference, 0.11) else "differs",
    )


def _loss_means(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    table = printed["table_8"]
    means = [fmean(column) for column in zip(*table["kinds"].values(), strict=True)]
    fits = all(near(claimed, mean, 0.06) for claimed, mean in zip(table["mean"], means, strict=True))
    yield Finding(
        "loss-means",
        _("Table 8, means"),
        " / ".join(number(value, ".1f") for value in table["mean"]),
        _("its rows give %(means)s") % {"means": " / ".join(number(mean, ".1f") for mean in means)},
        "agrees" if fits else "differs",
    )


def _trade_off(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Efficiency = compression x speed x quality, as most of its rows are computed."""
    for name, row in printed["table_10"].items():
        product = row["compression"] * row["speed"] * row["quality_percent"] / 100
        yield Finding(
            f"efficiency-{name}",
            _("Table 10, efficiency of %(format)s") % {"format": name},
            number(row["efficiency"], ".2f"),
            _("%(compression)s × %(speed)s × %(quality)s %% = %(product)s")
            % {
                "compression": number(row["compression"], ".2f"),
                "speed": number(row["speed"], ".2f"),
                "quality": number(row["quality_percent"], ".1f"),
                "product": number(product, ".2f"),
            },
            "agrees" if near(row["efficiency"], product, 0.011) else "differs",
        )


def _returns(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Return = throughput over cost, as most of its rows are computed."""
    for name, row in printed["table_13"].items():
        ratio = row["throughput"] / row["cost"]
        yield Finding(
            f"return-{name}",
            _("Table 13, return of %(format)s") % {"format": name},
            number(row["roi"], ".2f"),
            _("throughput / cost = %(throughput)s / %(cost)s = %(ratio)s")
            % {
                "throughput": number(row["throughput"], ".2f"),
                "cost": number(row["cost"], ".2f"),
                "ratio": number(ratio, ".2f"),
            },
            "agrees" if near(row["roi"], ratio, 0.011) else "differs",
        )
