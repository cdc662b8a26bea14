"""Do 34 prompts come to the verdict of thousands, and do sets differ? Sentences from the record of large sets."""

from collections.abc import Sequence
from typing import Any

from stages.lib.reporting.languages import Translate, list_of, number
from stages.lib.reporting.numbers import percent
from stages.lib.reporting.words.names import names_of
from stages.lib.results.scale import Scale

AS_GOOD = 0.95  # of the draws of few prompts that come to the same verdict


def scale_sentences(scale: Scale, _: Translate) -> list[str]:
    """What all prompts say of the attributes of each format, how often few prompts say it, and what follows."""
    rows = [row for row in scale.sets["rows"][1:] if row["attributes"]]
    if not rows:
        return []
    found, n = [], rows[0]["n"]
    few = rows[0]["attributes"]["few"]
    words = names_of("comparison", _)
    parts = [
        _("%(label)s %(verdict)s (%(same)s)")
        % {
            "label": row["label"],
            "verdict": words[row["attributes"]["change"]["verdict"]],
            "same": percent(agreeing(row)),
        }
        for row in rows
    ]
    values = {"n": number(n, ",d"), "few": few["prompts"]}
    text = _("Attributes by all prompts (n = %(n)s), and the share of samples of %(few)s that say the same: %(parts)s.")
    found.append(text % (values | {"parts": list_of(parts)}))
    return [*found, _conclusion(rows, values, _), *(_sets(scale, network, _) for network in scale.networks)]


def _sets(scale: Scale, network: str, _: Translate) -> str:
    """Whose images lie further away than other noise puts them, by the features of a network."""
    rows = scale.sets["rows"][1:]
    further = [row["label"] for row in rows if row[network]["fid"]["low"] > 0]
    alike = [row["label"] for row in rows if row[network]["fid"]["low"] <= 0]
    values = {"network": names_of("network", _)[network], "further": list_of(further), "alike": list_of(alike)}
    if not further:
        return _("By FID (%(network)s), no format is told from other noise.") % values
    if not alike:
        return _("By FID (%(network)s), all formats lie further away than other noise.") % values
    return (
        _("By FID (%(network)s), %(further)s lie further away than other noise, and %(alike)s are not told from it.")
        % values
    )


def agreeing(row: dict[str, Any]) -> float:
    """The share of draws with the verdict of all prompts."""
    attributes = row["attributes"]
    return attributes["few"]["verdicts"].get(attributes["change"]["verdict"], 0.0)


def opposite(row: dict[str, Any]) -> float:
    """The share of draws that decide, and otherwise than all prompts do."""
    attributes = row["attributes"]
    told = {attributes["change"]["verdict"], "undecided"}
    return sum(share for verdict, share in attributes["few"]["verdicts"].items() if verdict not in told)


def _conclusion(rows: Sequence[dict[str, Any]], values: dict[str, Any], _: Translate) -> str:
    carried = [row["label"] for row in rows if agreeing(row) >= AS_GOOD]
    lost = [row["label"] for row in rows if agreeing(row) < AS_GOOD]
    wrong = max(opposite(row) for row in rows)
    if not lost:
        said = _("So %(few)s prompts come to the verdict of %(n)s.") % values
    elif carried:
        said = _("So %(few)s prompts settle %(carried)s, and not %(lost)s.") % (
            values | {"carried": list_of(carried), "lost": list_of(lost)}
        )
    else:
        said = _("So %(few)s prompts settle none of these formats.") % values
    if wrong == 0:
        otherwise = _("No sample decides otherwise than all prompts do.")
    else:
        otherwise = _("A sample decides otherwise in up to %(share)s of cases.") % {"share": percent(wrong)}
    return f"{said} {otherwise}"
