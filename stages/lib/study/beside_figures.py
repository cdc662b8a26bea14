"""Tables 4 to 6 of the study beside exact sizes, measured compression and speed-ups, also of other machines."""

from stages.lib.reporting.languages import number, numbers
from stages.lib.reporting.words.names import names_of, reason
from stages.lib.results.speeds import speedup_of
from stages.lib.study.limits import BYTES, MIB, TOLERANCE, exact_parameters
from stages.lib.study.sources import FORMATS, BesideVerdict, Line, Sources, changes, row, same_ratio

MEASURED = {"FP32": "FP32", "FP16": "FP16", "INT8": "INT8 CPU"}  # the study's column, and its format in Table 6
POINTS = 1.0  # percentages within one point of each other count as the same


def sizes(sources: Sources) -> list[Line]:
    """A size below parameters times bytes cannot be."""
    _, table = sources._, sources.printed["table_4"]
    names = names_of("component", _)
    lines = []
    for key, said in table["components"].items():
        proof = sources.findings[f"size-{key}"].arithmetic
        lines.append(_size_line(sources, names[key], said, sources.exact["components"][key]["parameters"], proof))
    total = sources.findings["totals"].arithmetic
    lines.append(_size_line(sources, _("All"), table["total"], exact_parameters(sources.exact), total))
    said, finding = table["compression"], sources.findings["compression-int8"]
    own = [sources.counterparts[MEASURED[name]] for name in said]
    here = " / ".join(f"{number(result.compression, '.2f')}×" if result else "–" for result in own)
    printed = " / ".join(f"{number(ratio, '.2f')}×" for ratio in said.values())
    return [*lines, Line(_("Compression"), printed, here, finding.verdict, finding.arithmetic)]


def _size_line(sources: Sources, what: str, said: dict[str, float], parameters: int, proof: str) -> Line:
    printed, exact = [said[name] for name in BYTES], [parameters * size / MIB for size in BYTES.values()]
    millions = said["parameters_million"]
    why = sources._("off by %(sizes)s; parameters %(count)s. %(proof)s") % {
        "sizes": changes(printed, exact),
        "count": changes([millions], [parameters / 1e6]),
        "proof": proof,
    }
    return Line(
        what,
        sources._("%(sizes)s MB; %(count)s M") % {"sizes": row(printed, 1), "count": number(millions, ",.1f")},
        sources._("%(sizes)s MiB; %(count)s M") % {"sizes": row(exact, 1), "count": number(parameters / 1e6, ",.2f")},
        size_verdict(printed, exact),
        why,
    )


def size_verdict(printed: list[float], exact: list[float]) -> BesideVerdict:
    """Impossible if any printed size is below the exact one, agrees if all are within 3 % of it."""
    off = [value / size - 1 for value, size in zip(printed, exact, strict=True)]
    return "impossible" if min(off) < -TOLERANCE else "agrees" if max(off) <= TOLERANCE else "differs"


def overhead(sources: Sources) -> list[Line]:
    """Sizes against the exact ones; overhead and efficiency against the measured ones."""
    _, table = sources._, sources.printed["table_5"]
    parameters = exact_parameters(sources.exact)
    exact = [parameters * size / MIB for size in BYTES.values()]
    lines = []
    for key, what in (("theoretical", _("Theoretical size")), ("real", _("Real size"))):
        printed = list(table[key].values())
        proof = sources.findings["theoretical-size"].arithmetic
        why = _("off by %(sizes)s: %(proof)s") % {"sizes": changes(printed, exact), "proof": proof}
        lines.append(Line(what, sources.mb(printed), sources.mib(exact, 1), size_verdict(printed, exact), why))
    own = {name: sources.counterparts[MEASURED[name]] for name in MEASURED}
    overheads = {name: result.size["overhead_percent"] for name, result in own.items() if result}
    efficiencies = {name: r.efficiency_percent(sources.results.baseline) for name, r in own.items() if r}
    lines.append(_percent_line(sources, _("Overhead"), table["overhead_percent"], overheads, "overhead"))
    what, said, key = _("Compression efficiency"), table["efficiency_percent"], "compression-efficiency"
    return [*lines, _percent_line(sources, what, said, efficiencies, key)]


def _percent_line(sources: Sources, what: str, said: dict[str, float], own: dict[str, float], key: str) -> Line:
    """Percentages against measured ones, in points; `key` is the audit's check of the study's own arithmetic."""
    pattern, finding = sources._("%(values)s %%"), sources.findings[key]
    printed = pattern % {"values": row(list(said.values()), 1)}
    if len(own) < len(said):
        return sources.unmeasured(what, printed)
    off = [said[name] - own[name] for name in said]
    points = " / ".join(number(value, "+.1f") for value in off)
    why = sources._("off by %(points)s points; %(proof)s") % {"points": points, "proof": finding.arithmetic}
    fits = max(abs(value) for value in off) <= POINTS and finding.verdict == "agrees"
    here = pattern % {"values": row([own[name] for name in said], 1)}
    return Line(what, printed, here, "agrees" if fits else "differs", why)


def performance(sources: Sources) -> list[Line]:
    """Times and speed-ups, then memory, then the same networks on other machines."""
    lines = [_time_line(sources, name) for name in FORMATS]
    lines += [_memory_line(sources, name) for name in FORMATS]
    halves, _ = sources.findings["gpu-memory-ratios"], sources._
    lines.append(Line(_("GPU memory, ratios"), halves.printed, "", halves.verdict, halves.arithmetic))
    return lines + _on_other_machines(sources)


def _time_line(sources: Sources, name: str) -> Line:
    _, said, result = sources._, sources.printed["table_6"][name], sources.counterparts[name]
    what = _("%(format)s, time and speed-up") % {"format": name}
    printed = _("%(seconds)s ± %(std)s s; %(speedup)s×") % numbers(
        ".2f", **{name: said[name] for name in ("seconds", "std", "speedup")}
    )
    finding, here = sources.findings.get(f"time-{name}"), ""
    if result and result.timed:
        speedup, seconds = speedup_of(result.timing), numbers(".3f", seconds=result.timing["latency_s"])
        here = _("%(seconds)s s; %(speedup)s×") % (seconds | numbers(".2f", speedup=speedup.value))
    if finding and finding.verdict != "agrees":
        return Line(what, printed, here, finding.verdict, finding.arithmetic)
    if result is None:
        return sources.unmeasured(what, printed)
    if not here:
        return Line(what, printed, here, "unmeasured", reason(result.timing["reason"], _))
    if result.is_baseline:
        return Line(what, printed, here, "incomparable", _("another model or machine; 1.00× by definition"))
    within = speedup.low <= said["speedup"] <= speedup.high
    off = numbers("+.2f", off=said["speedup"] - speedup.value)
    span = numbers(".2f", low=speedup.low, high=speedup.high)
    why = _("speed-up off by %(off)s×; measured from %(low)s to %(high)s") % (off | span)
    return Line(what, printed, here, "agrees" if within else "differs", why)


def _memory_line(sources: Sources, name: str) -> Line:
    _, said, result = sources._, sources.printed["table_6"][name], sources.counterparts[name]
    what = _("%(format)s, GPU and CPU memory") % {"format": name}
    printed = sources.mb([said["gpu_mb"], said["cpu_mb"]])
    timed = result is not None and result.timed
    here = sources.mib([result.timing["run_peak_mib"]], 0) if timed else ""
    found = [sources.findings[key] for key in (f"gpu-memory-{name}", f"cpu-memory-{name}") if key in sources.findings]
    wrong = next((finding for finding in found if finding.verdict == "impossible"), None)
    if wrong:
        return Line(what, printed, here, "impossible", wrong.arithmetic)
    return Line(what, printed, here, "incomparable", _("another model or machine"))


def _on_other_machines(sources: Sources) -> list[Line]:
    """Networks of the study's size: what FP16 really gains there, in time and in memory."""
    _, table = sources._, sources.printed["table_6"]
    lines = []
    for machine, found in sources.of_study_size:
        own = found["FP16"].timing["speedup"]
        said = table["FP16"]["speedup"]
        what = _("FP16, the same networks on %(machine)s") % {"machine": machine.title}
        why = _("speed-up off by %(off)s×") % numbers("+.2f", off=said - own)
        verdict = "agrees" if same_ratio(said, own) else "differs"
        lines.append(Line(what, f"{number(said, '.2f')}×", f"{number(own, '.2f')}×", verdict, why))
        peaks = [found[name].timing["run_peak_mib"] for name in ("FP32", "FP16")]
        printed = [table[name]["gpu_mb"] for name in ("FP32", "FP16")]
        ratio, said = peaks[0] / peaks[1], printed[0] / printed[1]
        what = _("GPU memory, FP32 to FP16, the same networks on %(machine)s") % {"machine": machine.title}
        why = _("a peak shrinks %(own)s times, not %(said)s times") % numbers(".2f", own=ratio, said=said)
        verdict = "agrees" if same_ratio(said, ratio) else "differs"
        lines.append(Line(what, sources.mb(printed), sources.mib(peaks, 1), verdict, why))
    return lines
