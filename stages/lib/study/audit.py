"""Can the numbers that the study printed be right? Each check is arithmetic on its tables and on exact model sizes.

`data/study/printed.json` holds what the study prints, `data/study/stable_diffusion_v1_5.json` the exact parameter
counts and operations of the model it measured. No verdict is stored: each one is computed, here where a table
contradicts itself or another, in stages.lib.study.limits where it contradicts the model or the hardware.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

from stages.lib.project.files import read_json
from stages.lib.reporting.languages import NO_BREAK_SPACE, Translate, number, numbers
from stages.lib.reporting.words.names import names_of
from stages.lib.study import limits
from stages.lib.study.limits import Finding, Verdict, near


def audit(folder: Path, _: Translate) -> list[Finding]:
    """Every check on the study's tables, in the order of the tables. `folder` holds the two JSON files."""
    printed, model = read_json(folder / "printed.json"), read_json(folder / "stable_diffusion_v1_5.json")
    checks = (limits.sizes, _sums, limits.dynamic, limits.theoretical, _overheads, _speedups)
    checks += (limits.memory, limits.halves, limits.cpu_memory, limits.gpu_time, limits.cpu_time)
    checks += (_ratings, limits.fid, _losses, _loss_means, _quality_share, _trade_off, _recommended, _returns)
    return [finding for check in checks for finding in check(printed, model, _)]


def _row(
    key: str,
    where: str,
    printed: Sequence[float],
    computed: Sequence[float],
    tolerance: float,
    text: str,
    spec: str = ".1f",
    sign: str = "",
    otherwise: Verdict = "differs",
) -> Finding:
    """A printed row against the same one computed, which `text` gives; `sign` follows each value."""
    fits = all(near(*pair, tolerance) for pair in zip(printed, computed, strict=True))
    said, found = (" / ".join(f"{number(value, spec)}{sign}" for value in values) for values in (printed, computed))
    return Finding(key, where, said, text % {"values": found}, "agrees" if fits else otherwise)


def _sums(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The total line is the sum of its column."""
    table = printed["table_4"]
    columns = [*table["formats"], "parameters_million"]
    sums = [sum(row[key] for row in table["components"].values()) for key in columns]
    text, totals = _("the columns add up to %(values)s"), [table["total"][key] for key in columns]
    yield _row("totals", _("Table 4, totals"), totals, sums, 0.11, text, ",.1f", otherwise="impossible")


def _overheads(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Overhead over the theoretical size; efficiency = real compression over theoretical compression."""
    table, text, percent = printed["table_5"], _("its own sizes give %(values)s"), (".1f", f"{NO_BREAK_SPACE}%")
    real, theory = table["real"], table["theoretical"]
    overhead = [100 * (real[key] / theory[key] - 1) for key in real]
    said = table["overhead_percent"].values()
    yield _row("overhead", _("Table 5, overhead"), said, overhead, 0.06, text, *percent)
    efficiency = [100 * (real["FP32"] / real[key]) / (theory["FP32"] / theory[key]) for key in real]
    said, where = table["efficiency_percent"].values(), _("Table 5, compression efficiency")
    yield _row("compression-efficiency", where, said, efficiency, 0.06, text, *percent)


def _speedups(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    rows = printed["table_6"].values()
    said, computed = zip(
        *((row["speedup"], printed["table_6"]["FP32"]["seconds"] / row["seconds"]) for row in rows), strict=True
    )
    text = _("its own times give %(values)s")
    yield _row("speedups", _("Table 6, speed-up"), said, computed, 0.006, text, ".2f", "×")


def _ratings(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    bands = sorted(printed["psnr_bands"].items(), key=lambda item: -item[1])
    for name, row in printed["table_7"].items():
        if row["psnr_db"] is None:
            continue
        band = next((word for word, bound in bands if row["psnr_db"] >= bound), "poor")
        values = {"psnr": number(row["psnr_db"], ".1f"), "rating": names_of("rating", _)[row["rating"]]}
        yield Finding(
            f"rating-{name}",
            _("Table 7, rating of %(format)s") % {"format": name},
            _("%(psnr)s dB, “%(rating)s”") % values,
            _("by the study's own bands %(psnr)s dB is “%(band)s”") % {**values, "band": names_of("rating", _)[band]},
            "agrees" if band == row["rating"] else "differs",
        )


def _losses(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """The loss from FP16 to INT8 in Table 8 against the difference of the means in Table 7."""
    int8, fp16 = (printed["table_7"][name]["psnr_db"] for name in ("INT8 CPU", "FP16"))
    claimed = printed["table_8"]["mean"][2]
    text = _(
        "Table 7 gives %(int8)s − %(fp16)s = %(difference)s dB; a loss against FP32 itself, whose PSNR is "
        "unbounded, has no value"
    )
    yield Finding(
        "loss",
        _("Table 8, mean loss from FP16 to INT8"),
        _("%(loss)s dB") % numbers(".1f", loss=claimed),
        text % numbers(".1f", int8=int8, fp16=fp16, difference=int8 - fp16),
        "agrees" if near(claimed, int8 - fp16, 0.11) else "differs",
    )


def _loss_means(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    table = printed["table_8"]
    means = [fmean(column) for column in zip(*table["kinds"].values(), strict=True)]
    yield _row("loss-means", _("Table 8, means"), table["mean"], means, 0.06, _("its rows give %(values)s"))


def _quality_share(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Table 10's quality in percent is the PSNR over that of FP16: both INT8 rows say so, the FP16 row contradicts."""
    psnr = {name: row["psnr_db"] for name, row in printed["table_7"].items()}
    rows = {"FP16": "FP16", "INT8 CPU": "INT8 CPU", "INT8 GPU": "INT8 Simulated"}
    said = [printed["table_10"][name]["quality_percent"] for name in rows]
    shares = [100 * psnr[source] / psnr["FP16"] for source in rows.values()]
    text = _(
        "PSNR over that of FP16 gives %(values)s %%; decibels are logarithms, so a share of them is no share of "
        "quality, and FP32, whose PSNR is unbounded, has none"
    )
    found = _row("quality-share", _("Table 10, quality"), said, shares, 0.06, text, ",.1f")
    yield replace(found, printed=_("%(values)s %%") % {"values": found.printed})


def _trade_off(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Efficiency = compression x speed x quality, as most of its rows are computed."""
    for name, row in printed["table_10"].items():
        product = row["compression"] * row["speed"] * row["quality_percent"] / 100
        values = numbers(".2f", compression=row["compression"], speed=row["speed"], product=product)
        yield Finding(
            f"efficiency-{name}",
            _("Table 10, efficiency of %(format)s") % {"format": name},
            number(row["efficiency"], ".2f"),
            _("%(compression)s × %(speed)s × %(quality)s %% = %(product)s")
            % (values | numbers(".1f", quality=row["quality_percent"])),
            "agrees" if near(row["efficiency"], product, 0.011) else "differs",
        )


def _recommended(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """FP32 for a large GPU, against what the study's own tables say of FP16."""
    name, rating = printed["table_12"]["gpu-over-8gb"]["format"]["en"], printed["table_7"]["FP16"]["rating"]
    ratio, speedup = printed["table_4"]["compression"]["FP16"], printed["table_6"]["FP16"]["speedup"]
    dominated = name == "FP32" and rating == printed["table_7"]["FP32"]["rating"] and min(ratio, speedup) > 1
    yield Finding(
        "large-gpu",
        _("Table 12, GPU with more than 8 GB"),
        name,
        _("Tables 4, 6 and 7 call FP16 “%(rating)s” as well, at %(ratio)s× the compression and %(speedup)s× the speed")
        % {"rating": names_of("rating", _)[rating], **numbers(".2f", ratio=ratio, speedup=speedup)},
        "differs" if dominated else "agrees",
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
            % numbers(".2f", throughput=row["throughput"], cost=row["cost"], ratio=ratio),
            "agrees" if near(row["roi"], ratio, 0.011) else "differs",
        )
