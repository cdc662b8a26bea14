"""Checks of the study's conclusions and of its CPU memory: Tables 6, 10 and 12 against the tables they come from."""

from collections.abc import Iterator
from typing import Any

from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.words.names import rating_names
from stages.lib.study.limits import MIB, Finding, near
from stages.lib.study.sources import row


def cpu_memory(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """INT8 CPU runs the whole pipeline there: dynamic quantization makes Linear weights one byte."""
    parts = model["components"].values()
    weights = sum(4 * part["parameters"] - 3 * part["linear_weights"] for part in parts) / MIB
    claimed = printed["table_6"]["INT8 CPU"]["cpu_mb"]
    yield Finding(
        "cpu-memory-INT8 CPU",
        _("Table 6, CPU memory of INT8 CPU"),
        _("%(size)s MB") % {"size": number(claimed, ",.1f")},
        _("the weights alone, Linear layers in INT8 and the rest in FP32, take %(weights)s MiB")
        % {"weights": number(weights, ",.1f")},
        "agrees" if claimed >= weights else "impossible",
    )


def quality_share(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """Table 10's quality in percent is the PSNR over that of FP16: both INT8 rows say so, the FP16 row contradicts."""
    table, psnr = printed["table_10"], printed["table_7"]
    rows = {"FP16": "FP16", "INT8 CPU": "INT8 CPU", "INT8 GPU": "INT8 Simulated"}
    shares = {name: 100 * psnr[source]["psnr_db"] / psnr["FP16"]["psnr_db"] for name, source in rows.items()}
    fits = all(near(table[name]["quality_percent"], share, 0.06) for name, share in shares.items())
    yield Finding(
        "quality-share",
        _("Table 10, quality"),
        _("%(values)s %%") % {"values": row([table[name]["quality_percent"] for name in rows], 1)},
        _(
            "PSNR over that of FP16 gives %(shares)s %%; decibels are logarithms, so a share of them is no share of "
            "quality, and FP32, whose PSNR is unbounded, has none"
        )
        % {"shares": row(list(shares.values()), 1)},
        "agrees" if fits else "differs",
    )


def recommended(printed: dict[str, Any], model: dict[str, Any], _: Translate) -> Iterator[Finding]:
    """FP32 for a large GPU, against what the study's own tables say of FP16."""
    name, rating = printed["table_12"]["gpu-over-8gb"]["format"]["en"], printed["table_7"]["FP16"]["rating"]
    ratio, speedup = printed["table_4"]["compression"]["FP16"], printed["table_6"]["FP16"]["speedup"]
    dominated = name == "FP32" and rating == printed["table_7"]["FP32"]["rating"] and min(ratio, speedup) > 1
    yield Finding(
        "large-gpu",
        _("Table 12, GPU with more than 8 GB"),
        name,
        _("Tables 4, 6 and 7 call FP16 “%(rating)s” as well, at %(ratio)s× the compression and %(speedup)s× the speed")
        % {"rating": rating_names(_)[rating], "ratio": number(ratio, ".2f"), "speedup": number(speedup, ".2f")},
        "differs" if dominated else "agrees",
    )
