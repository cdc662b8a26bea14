"""Tables 10, 12 and 13 of the study beside what was measured: trade-off, recommendations, costs."""

from stages.lib.reporting.languages import number, numbers
from stages.lib.reporting.numbers import dtype_name
from stages.lib.results.records import VariantResult
from stages.lib.study.sources import SAME_RATIO, Line, Sources, same_ratio

SMALLER = 1 + SAME_RATIO


def tradeoff(sources: Sources) -> list[Line]:
    """Each row's own arithmetic, then its compression and speed-up against measured ones."""
    _ = sources._
    lines = []
    for name, said in sources.printed["table_10"].items():
        values = numbers(".2f", **{key: said[key] for key in ("compression", "speed", "efficiency")})
        values |= numbers(".1f", quality=said["quality_percent"])
        printed = _("%(compression)s×; %(quality)s %%; %(speed)s× → %(efficiency)s×") % values
        result, finding = sources.counterparts.get(name), sources.findings[f"efficiency-{name}"]
        if result is None or not result.timed:
            reason = _("the study estimated it") if said.get("estimated") else _("no such format in this measurement")
            lines.append(Line(name, printed, "", "unmeasured", f"{reason}; {finding.arithmetic}"))
            continue
        speedup = _speedup(result)
        here = f"{number(result.compression, '.2f')}×; {number(speedup, '.2f')}×"
        fits = same_ratio(said["compression"], result.compression) and same_ratio(said["speed"], speedup)
        off = numbers("+.2f", compression=said["compression"] - result.compression, speed=said["speed"] - speedup)
        off["arithmetic"] = finding.arithmetic
        why = _("compression off by %(compression)s×, speed by %(speed)s×; %(arithmetic)s") % off
        lines.append(Line(name, printed, here, "agrees" if fits and finding.verdict == "agrees" else "differs", why))
    share = sources.findings["quality-share"]
    return [*lines, Line(_("Quality"), share.printed, "", share.verdict, share.arithmetic)]


def recommendations(sources: Sources) -> list[Line]:
    """The study's advice against this report's, where `recommended` has one, and against its own tables."""
    _ = sources._
    lines = []
    for key, said in sources.printed["table_12"].items():
        what, name = sources.said(said["scenario"]), sources.said(said["format"])
        printed = f"{name}: {sources.said(said['reason'])}"
        finding = sources.findings["large-gpu"] if key == "gpu-over-8gb" else None
        recommended = sources.recommended.get(key)
        here = recommended.label if recommended else ""
        if finding and finding.verdict != "agrees":
            lines.append(Line(what, printed, here, finding.verdict, finding.arithmetic))
        elif key == "cpu-only" and (others := _lighter_on_cpu(sources)):
            why = _("not the only way: a lower peak memory than %(baseline)s (%(peak)s MiB) have here %(labels)s") % {
                "baseline": sources.results.baseline.label,
                "peak": _peak(sources.results.baseline),
                "labels": ", ".join(f"{result.label} ({_peak(result)})" for result in others),
            }
            lines.append(Line(what, printed, here, "differs", why))
        elif recommended:
            same = said["format"]["en"].split()[0] == dtype_name(recommended.weights)
            lines.append(Line(what, printed, here, "agrees" if same else "differs"))
        else:
            lines.append(Line(what, printed, here, "unmeasured", _("no measured format serves it")))
    return lines


def _lighter_on_cpu(sources: Sources) -> list[VariantResult]:
    """Formats without integers that took less memory than the baseline in generation on a CPU, peak against peak.

    Bytes on disk are no answer: what is stored in half of them may be computed in as much memory.
    """
    limit = sources.results.baseline.timing.get("run_peak_mib", 0) / SMALLER
    return [
        result
        for result in sources.results.others
        if result.timed
        and result.generated["device"] == "cpu"
        and not result.variant.scaled
        and result.timing["run_peak_mib"] < limit
    ]


def _peak(result: VariantResult) -> str:
    return number(result.timing["run_peak_mib"], ",.0f")


def costs(sources: Sources) -> list[Line]:
    """Return as the quotient the study means, and throughput against the measured speed-up."""
    _ = sources._
    lines = []
    for name, said in sources.printed["table_13"].items():
        printed = "{cost}×; {throughput}× → {roi}×".format(**numbers(".2f", **said))
        result, finding = sources.counterparts.get(name), sources.findings[f"return-{name}"]
        if result is None or not result.timed:
            why = _("no such format in this measurement; %(arithmetic)s") % {"arithmetic": finding.arithmetic}
            lines.append(Line(name, printed, "", "unmeasured" if finding.verdict == "agrees" else "differs", why))
            continue
        speedup = _speedup(result)
        off = {"off": number(said["throughput"] - speedup, "+.2f"), "arithmetic": finding.arithmetic}
        why = _("throughput off by %(off)s×; %(arithmetic)s") % off
        fits = same_ratio(said["throughput"], speedup) and finding.verdict == "agrees"
        lines.append(Line(name, printed, f"{number(speedup, '.2f')}×", "agrees" if fits else "differs", why))
    return lines


def _speedup(result: VariantResult) -> float:
    return result.timing["speedup"]
