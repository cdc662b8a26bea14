"""Tables 4 and 5 of the study beside exact sizes and measured compression: size, overhead."""

from stages.lib.reporting.languages import number
from stages.lib.reporting.words.names import names_of
from stages.lib.study.limits import BYTES, MIB, TOLERANCE, exact_parameters
from stages.lib.study.sources import BesideVerdict, Line, Sources, changes, row

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
