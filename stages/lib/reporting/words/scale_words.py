"""Do 34 prompts come to the verdict of thousands, and do sets differ? Sentences from the record of large sets."""

from collections.abc import Sequence
from typing import Any

from stages.lib.reporting.languages import Translate, list_of, number
from stages.lib.reporting.numbers import percent
from stages.lib.reporting.words.names import names_of
from stages.lib.results.scale import Scale

AS_GOOD = 0.95  # of the draws of few prompts that come to the same verdict


def scale_sentences(scale: Scale, _: Translate) -> list[str]:
    """What all prompts say of attributes, how often few prompts say it, which sets are told apart, and where it all
    comes from; a paragraph each. What a record lacks is left out."""
    rows = [row for row in scale.sets["rows"][1:] if row["attributes"]]
    attributes = [_verdicts(scale, rows, _), _few(rows, _)] if rows else []
    return [*attributes, *_distances(scale, _), _origin(scale, _)]


def _verdicts(scale: Scale, rows: Sequence[dict[str, Any]], _: Translate) -> str:
    margin = number(scale.sets["margin"], "g")
    parts = [f"{row['label']} ({_change(row['attributes']['change'], margin, _)})" for row in rows]
    said = [
        _("Attributes by all prompts (n = %(n)s): %(parts)s.")
        % {"n": number(rows[0]["n"], ",d"), "parts": list_of(parts)},
        _(
            "The margin is %(margin)s (percentage points); equal means that the 90 %% interval of the change lies "
            "within it."
        )
        % {"margin": margin},
        _("Attributes are judged by the model's own CLIP; equal attributes are not equal images."),
    ]
    return " ".join(said)


def _change(change: dict[str, Any], margin: str, _: Translate) -> str:
    """A verdict with the points it is about, if they can be told from zero."""
    values = {"points": number(abs(change["mean"]), ".2f"), "margin": margin}
    if change["low"] <= 0 <= change["high"]:
        return names_of("scale_verdict", _)[change["verdict"]]
    if change["verdict"] == "equal":
        less = _("lower by %(points)s points, less than the margin of %(margin)s")
        more = _("higher by %(points)s points, less than the margin of %(margin)s")
    else:
        less, more = _("lower by %(points)s points"), _("higher by %(points)s points")
    return (less if change["mean"] < 0 else more) % values


def _few(rows: Sequence[dict[str, Any]], _: Translate) -> str:
    few = {"few": rows[0]["attributes"]["few"]["prompts"]}
    shares = list_of([f"{row['label']} {percent(agreeing(row))}" for row in rows])
    carried = list_of([row["label"] for row in rows if agreeing(row) >= AS_GOOD])
    lost = list_of([row["label"] for row in rows if agreeing(row) < AS_GOOD])
    wrong = max(opposite(row) for row in rows)
    if not lost:
        so = _("So n = %(few)s prompts give the verdict of all prompts on attributes.")
    elif carried:
        so = _(
            "So n = %(few)s prompts give the verdict of all prompts on attributes for %(carried)s, and not for "
            "%(lost)s."
        )
    else:
        so = _("So n = %(few)s prompts give the verdict of all prompts on attributes for none of these formats.")
    said = [
        _("The share of samples (n = %(few)s) with the verdict of all prompts: %(shares)s.")
        % {**few, "shares": shares},
        _("A sample without any change is undecided."),
        so % {**few, "carried": carried, "lost": lost},
        _("A sample decides otherwise in up to %(share)s of cases.") % {"share": percent(wrong)}
        if wrong
        else _("No sample decides otherwise than all prompts do."),
    ]
    return " ".join(said)


def agreeing(row: dict[str, Any]) -> float:
    """The share of draws, 0 to 1, with the verdict of all prompts."""
    attributes = row["attributes"]
    return attributes["few"]["verdicts"].get(attributes["change"]["verdict"], 0.0)


def opposite(row: dict[str, Any]) -> float:
    """The share of draws, 0 to 1, that decide, and otherwise than all prompts do."""
    attributes = row["attributes"]
    told = {attributes["change"]["verdict"], "undecided"}
    return sum(share for verdict, share in attributes["few"]["verdicts"].items() if verdict not in told)


def _distances(scale: Scale, _: Translate) -> list[str]:
    """Whose images lie further away than other noise puts them, by each network, and where networks disagree."""
    found, names = [], names_of("network", _)
    rows = scale.sets["rows"][1:]
    for network in scale.with_fid if rows else ():
        further = [row["label"] for row in rows if row[network]["fid"]["low"] > 0]
        others = [row["label"] for row in rows if row[network]["fid"]["low"] <= 0]
        if not further:
            text = _(
                "By FID (%(network)s, n = %(n)s), no format is shown to lie further from %(baseline)s than "
                "%(baseline)s with other noise does."
            )
        elif not others:
            text = _(
                "By FID (%(network)s, n = %(n)s), all formats lie further from %(baseline)s than %(baseline)s with "
                "other noise does."
            )
        else:
            text = _(
                "By FID (%(network)s, n = %(n)s), these lie further from %(baseline)s than %(baseline)s with other "
                "noise does: %(further)s. Not shown of: %(others)s."
            )
        values = {"network": names[network], "baseline": scale.baseline_label, "further": list_of(further)}
        found.append(text % (values | {"n": number(rows[0][network]["kid"]["n"], ",d"), "others": list_of(others)}))
    text = _(
        "The networks disagree: by FID (%(here)s) %(one)s lies further away than %(other)s, by FID (%(there)s) nearer."
    )
    return found + [
        text % {"one": one["label"], "other": other["label"], "here": names[here], "there": names[there]}
        for one, other, here, there in scale.disagreements()
    ]


def _origin(scale: Scale, _: Translate) -> str:
    """Of which runs the figures come, and what was done with them afterwards."""
    names, size = names_of("scale_figure", _), number(scale.sets["batch_size"], ",d")
    said = [_("Generated by python -m tools.measure_scale, n = %(n)s prompts in a call.") % {"n": size}]
    for run in scale.origin["runs"]:
        values = {"commit": run["commit"], "n": number(run["prompts"], ",d"), "processes": run["processes"]}
        said.append(_("Run at commit %(commit)s: n = %(n)s prompts, processes: %(processes)s.") % values)
        if "taken" in run:
            said.append(_("Taken from it: %(taken)s.") % {"taken": list_of([names[key] for key in run["taken"]])})
    if scale.sets["rows"][0]["n"] < scale.sets["asked"]:
        asked = {"n": number(scale.sets["asked"], ",d")}
        said.append(_("Prompts asked for: n = %(n)s; the time ended before all were done.") % asked)
    notes = names_of("scale_note", _)
    said += [notes[key] for key in scale.origin["notes"]]
    return " ".join([*said, _("Compared by the code of commit %(commit)s.") % {"commit": scale.origin["compared"]}])
