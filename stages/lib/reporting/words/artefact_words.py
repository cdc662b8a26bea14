"""What readers are told of damage: the study's Table 9 in words that were measured."""

from typing import Any

from stages.lib.quality.appearance import GRADES, MEASURES
from stages.lib.reporting.languages import Translate


def measure_digits() -> dict[str, int]:
    """Decimals shown of each measure."""
    return {key: {"blur": 3, "lightness": 1, "green_red": 1, "blue_yellow": 1}.get(key, 2) for key in MEASURES}


def damage_words(measures: dict[str, dict[str, Any]], _: Translate) -> list[str]:
    """What was seen of one format, the strongest first: 'clearly blurred'; nothing if nothing was seen."""
    effects = {
        "blur": (_("blurred"), _("blurred")),
        "detail_db": (_("poorer in fine detail"), _("poorer in fine detail")),
        "blockiness": (_("blocky"), _("blocky")),
        "posterization_bits": (_("posterized"), _("posterized")),
        "noise": (_("grainy"), _("grainy")),
        "mottling": (_("mottled"), _("mottled")),
        "lightness": (_("darker"), _("brighter")),
        "green_red": (_("greener"), _("redder")),
        "blue_yellow": (_("bluer"), _("yellower")),
    }
    degrees = {
        "slight": _("slightly %(effect)s"),
        "moderate": _("clearly %(effect)s"),
        "strong": _("strongly %(effect)s"),
    }
    graded = [(GRADES.index(measures[key]["grade"]), key) for key in MEASURES if measures[key]["grade"] in degrees]
    graded.sort(key=lambda pair: -pair[0])  # stable: equal grades stay in the order of the measures
    return [degrees[GRADES[number]] % {"effect": effects[key][measures[key]["shift"] > 0]} for number, key in graded]
