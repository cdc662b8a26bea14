"""Tables 7, 8, 9 and 11 of the study beside what was measured: ranks, losses, looks, components."""

import math

from stages.lib.quality.metrics import rate_psnr
from stages.lib.reporting.languages import number, numbers
from stages.lib.reporting.words.names import names_of, translated
from stages.lib.reporting.words.quality_words import damage_words, unmoved_words
from stages.lib.results.records import kind_means
from stages.lib.study.sources import FORMATS, Line, Sources, row

COMPARED = FORMATS[1:]
# What of our measures shows an artefact that the study names.
MEASURES_OF = {
    "detail": ("blur", "detail_db"),
    "colour": ("lightness", "green_red", "blue_yellow"),
    "blocks": ("blockiness",),
    "posterization": ("posterization_bits",),
}
PAIRS = (("FP32", "FP16"), ("FP32", "INT8 CPU"), ("FP16", "INT8 CPU"))


def quality(sources: Sources) -> list[Line]:
    """Ranks by PSNR and ratings; absolute decibels are of another model."""
    _, table = sources._, sources.printed["table_7"]
    own = {name: result.quality["psnr_db"] for name, result in sources.counterparts.items() if result}
    ours = ranks({name: math.inf if value is None else value for name, value in own.items() if name in COMPARED})
    theirs = ranks({name: table[name]["psnr_db"] for name in ours})
    said = numbers(".3f", ssim=table["FP32"]["ssim"]) | numbers(".1f", fid=table["FP32"]["fid"])
    reference = _("SSIM %(ssim)s, FID %(fid)s") % said
    lines = [Line("FP32", reference, _("the reference itself"), "agrees", _("by definition"))]
    for name in COMPARED:
        said, result = table[name], sources.counterparts[name]
        printed = _measures(sources, *(said[key] for key in ("psnr_db", "psnr_std", "ssim", "ssim_std", "rating")))
        if result is None:
            lines.append(sources.unmeasured(name, printed))
            continue
        found = result.quality
        rating, spreads = rate_psnr(found["psnr_db"]), (found["psnr_db_std"] or 0, found["ssim_std"])
        here = _measures(sources, found["psnr_db"], spreads[0], found["ssim"], spreads[1], rating)
        finding = sources.findings[f"rating-{name}"]
        places = {"theirs": theirs[name], "ours": ours[name], "count": len(ours)}
        why = _("rank by PSNR: %(theirs)s of %(count)s there, %(ours)s of %(count)s here") % places
        if finding.verdict != "agrees":
            why = f"{why}; {finding.arithmetic}"
        fits = theirs[name] == ours[name] and finding.verdict == "agrees"
        lines.append(Line(name, printed, here, "agrees" if fits else "differs", why))
    fid = sources.findings["fid"]
    return [*lines, Line("FID", fid.printed, "", fid.verdict, fid.arithmetic)]


def _measures(
    sources: Sources, psnr_db: float | None, psnr_std: float, ssim: float, ssim_std: float, rating: str
) -> str:
    _ = sources._
    spreads = numbers(".3f", ssim=ssim, ssim_std=ssim_std) | {"rating": names_of("rating", _)[rating]}
    if psnr_db is None:
        return _("identical; %(ssim)s ± %(ssim_std)s; “%(rating)s”") % spreads
    decibels = numbers(".1f", psnr=psnr_db, psnr_std=psnr_std)
    return _("%(psnr)s ± %(psnr_std)s dB; %(ssim)s ± %(ssim_std)s; “%(rating)s”") % (decibels | spreads)


def ranks(values: dict[str, float]) -> dict[str, int]:
    """The place of each name by its value, 1 for the highest; equal values share a place."""
    return {name: 1 + sum(other > value for other in values.values()) for name, value in values.items()}


def kinds(sources: Sources) -> list[Line]:
    """A loss against FP32 has no value; what can be compared is which kind of image suffers most."""
    _, table = sources._, sources.printed["table_8"]
    own = _kind_psnr(sources)
    pattern = _("%(values)s dB")
    why = _("a loss from FP32 has no value: its own PSNR is unbounded")
    lines = []
    for kind, said in (table["kinds"] | {"mean": table["mean"]}).items():
        values = [means.get(kind) for means in own]
        here = " / ".join("–" if value is None else number(value, ".1f") for value in values)
        what = _("Mean") if kind == "mean" else translated(kind, _)
        lines.append(Line(what, pattern % {"values": row(said, 1)}, pattern % {"values": here}, "impossible", why))
    loss = sources.findings["loss"]
    lines.append(Line(_("Mean, FP16 → INT8, against Table 7"), loss.printed, "", loss.verdict, loss.arithmetic))
    theirs = min(table["kinds"], key=lambda kind: table["kinds"][kind][1])
    measured = {kind: own[1][kind] for kind in table["kinds"] if own[1].get(kind) is not None}
    what = _("Kind that INT8 damages most")
    if not measured:
        return [*lines, sources.unmeasured(what, translated(theirs, _))]
    ours = min(measured, key=measured.__getitem__)
    words = (translated(theirs, _), translated(ours, _))
    return [*lines, Line(what, *words, "agrees" if ours == theirs else "differs")]


def _kind_psnr(sources: Sources) -> list[dict[str, float | None]]:
    """For each of the study's three columns, the measured mean PSNR by kind of prompt, and of all as 'mean'."""
    kinds_of = {prompt.id: prompt.kind for prompt in sources.prompts}
    found = []
    for pair in PAIRS:
        names = [result.name if result else None for result in (sources.counterparts[name] for name in pair)]
        measured = next((p for p in sources.results.pairs if [p["reference"], p["variant"]] == names), None)
        means = kind_means(measured, kinds_of) if measured else {}
        whole = {"mean": measured["psnr_db"]} if measured else {}
        found.append({kind: cell["psnr_db"] for kind, cell in means.items()} | whole)
    return found


def appearance(sources: Sources) -> list[Line]:
    """Of the artefacts that the study names, which are seen in this model's images."""
    _ = sources._
    lines = []
    for name, said in sources.printed["table_9"].items():
        text, result = f"{sources.said(said['look'])}; {sources.said(said['artefacts'])}", sources.counterparts[name]
        if result is None:
            lines.append(sources.unmeasured(name, text))
            continue
        if result.is_baseline:
            lines.append(Line(name, text, _("the reference itself"), "agrees", _("by definition")))
            continue
        measures = result.appearance["measures"]
        seen = [claim for claim in said["claims"] if any(is_seen(measures[key]) for key in MEASURES_OF[claim])]
        unmoved = _("no measure moved by what would have been seen: %(measures)s")
        here = ", ".join(damage_words(measures, _)) or unmoved % {"measures": unmoved_words(measures, _)}
        counts = {"seen": len(seen), "claimed": len(said["claims"])}
        why = _("kinds of damage that it names: %(claimed)s; of these seen here: %(seen)s") % counts
        lines.append(Line(name, text, here, "agrees" if counts["seen"] == counts["claimed"] else "differs", why))
    return lines


def is_seen(measure: dict) -> bool:
    """Whether a measure of looks was graded."""
    return measure["grade"] not in (None, "none")


def components(sources: Sources) -> list[Line]:
    """The study's three words for each component against the measured ones."""
    _, names = sources._, names_of("component", sources._)
    if not sources.results.sensitivity:
        return []
    formats = sources.results.sensitivity["components"]["formats"]
    first, last = formats[0]["components"], formats[-1]["components"]
    lines = []
    for fp16, int8 in zip(first, last, strict=True):
        said = sources.printed["table_11"].get(fp16["component"])
        if said is None:
            continue
        theirs = [said["FP16"], said["INT8"], said["criticality"]]
        ours = [fp16["effect"], int8["effect"], int8["criticality"]]
        same = sum(a == b for a, b in zip(theirs, ours, strict=True))
        why = _("%(same)s of 3 words are the same") % {"same": same}
        printed, here = ("; ".join(names_of("effect", _)[word] for word in words) for words in (theirs, ours))
        lines.append(Line(names[fp16["component"]], printed, here, "agrees" if same == 3 else "differs", why))
    return lines
