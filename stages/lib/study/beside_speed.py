"""Table 6 of the study beside measured speed-ups, what arithmetic allows, and the same networks on other machines."""

from stages.lib.reporting.languages import number, numbers
from stages.lib.reporting.words.names import reason
from stages.lib.study.sources import FORMATS, Line, Sources, same_ratio


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
    pattern = _("%(seconds)s ± %(std)s s; %(speedup)s×")
    printed = pattern % numbers(".2f", **{name: said[name] for name in ("seconds", "std", "speedup")})
    finding, here = sources.findings.get(f"time-{name}"), ""
    if result and result.timed:
        latency, speedup = result.measurement("latency_s"), result.measurement("speedup")
        seconds = numbers(".3f", seconds=latency.median, std=latency.std)
        here = pattern % (seconds | numbers(".2f", speedup=speedup.median))
    if finding and finding.verdict != "agrees":
        return Line(what, printed, here, finding.verdict, finding.arithmetic)
    if result is None:
        return sources.unmeasured(what, printed)
    if not here:
        return Line(what, printed, here, "unmeasured", reason(result.timing["reason"], _))
    if result.is_baseline:
        return Line(what, printed, here, "incomparable", _("another model or machine; 1.00× by definition"))
    within = speedup.minimum <= said["speedup"] <= speedup.maximum
    off = numbers("+.2f", off=said["speedup"] - speedup.median)
    span = numbers(".2f", low=speedup.minimum, high=speedup.maximum)
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
