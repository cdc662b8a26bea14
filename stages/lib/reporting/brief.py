"""Two pages for who has five minutes: from the values of the report to what the brief alone shows."""

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.lib.project.params import Params
from stages.lib.reporting.charts.named_points import named_points
from stages.lib.reporting.exports import kept_attributes
from stages.lib.reporting.images.screen_images import images_of
from stages.lib.reporting.images.thumbnails import photograph
from stages.lib.reporting.languages import Language, Translate
from stages.lib.reporting.page import Subject
from stages.lib.reporting.recommendations import Advice, least_true_size
from stages.lib.reporting.words import brief_words
from stages.lib.reporting.words.clock_words import trust
from stages.lib.results.candidates import Candidate
from stages.lib.results.records import Results, VariantResult
from stages.lib.results.scenarios import alternative, supported, threshold_changes

ROWS, PAIRS_PER_ROW = 6, 2
PROMPT_LETTERS, CODE_LETTERS = 90, 50  # of a prompt, as far as there is room


@dataclass(frozen=True)
class Choice:
    """What the brief says of the main scenario: two candidates of this machine, None where there is none."""

    chosen: Candidate | None
    alternative: Candidate | None

    @property
    def names(self) -> tuple[str, ...]:
        """The variants that the table and the chart point out."""
        return tuple(item.name for item in (self.chosen, self.alternative) if item is not None)


@dataclass(frozen=True)
class Pair:
    """One prompt's two images: the baseline's, the format's, and where its SSIM stands among all."""

    place: str
    ssim: float
    prompt: str
    images: tuple[str, str]


def brief_values(subject: Subject, values: Mapping[str, Any], language: Language) -> dict[str, Any]:
    """What the brief's template is filled with besides the `values` of the report."""
    params, results, advice, _ = subject.params, subject.results, values["advice"], language.translations.gettext
    main = next(item for item in advice if item.key == params.main_scenario)
    here = values["tradeoff"]["candidates"]
    baseline = next(item for item in here if item.is_baseline)
    choice, changes = Choice(None, None), []
    said = {"recommended": brief_words.recommended(main, None, baseline, _), "alternative": []}
    if results.illustrated and main.source is not None and main.source.machine == values["here"]:
        measured = main.source.candidates
        baseline = next(item for item in measured if item.is_baseline)
        chosen = supported(main.decision, baseline)
        choice = Choice(chosen, alternative(main.decision, chosen))
        said["recommended"] = brief_words.recommended(main, chosen, baseline, _)
        said["alternative"] = brief_words.alternative_words(main, choice.alternative, chosen, baseline, _)
        turned = threshold_changes(main.decision, chosen, measured) if chosen else []
        changes = brief_words.changes(main, turned, choice.alternative, baseline, _)
        changes += brief_words.other_uses(advice, main, chosen, _) if chosen else []
    shown = _compared(results, choice)
    return {
        "choice": choice,
        "said": said,
        "changes": changes,
        "resolution": trust(results.clock, results.baseline.label, _) or _("No format was timed."),
        "rows": table_rows(results, main, choice),
        "kept_attributes": kept_attributes,
        "named_points": named_points(here, choice.names, _) if results.illustrated else None,
        "compared": shown,
        "image_pairs": pairs(subject, shown, _) if shown else [],
        "code": code(choice.chosen.name if choice.chosen else results.baseline.name, subject.prompts[0].prompt),
        "origin_of_model": origin_of(params, _),
        "small": results.baseline.size["parameters"] < least_true_size(results),
    }


def table_rows(results: Results, main: Advice, choice: Choice) -> list[VariantResult]:
    """At most six formats: the baseline, what is pointed out, the fastest, the smallest, and the next best ones."""
    known = {item.name: item for item in results.variants}
    timed = [item for item in results.others if item.timed]
    wanted = [results.baseline.name, *choice.names]
    wanted += [max(timed, key=lambda item: item.timing["speedup"]).name] if timed else []
    wanted += [min(timed or results.variants, key=lambda item: item.size["disk_mib"]).name]
    wanted += [item.name for item in main.decision.eligible]
    wanted += [item.name for item in (*timed, *results.others)]
    names = [name for name in dict.fromkeys(wanted) if name in known][:ROWS]
    speed = {item.name: -item.timing["speedup"] for item in timed}
    return sorted((known[name] for name in names), key=lambda item: (not item.is_baseline, speed.get(item.name, 0.0)))


def _compared(results: Results, choice: Choice) -> VariantResult | None:
    """The format whose images are shown: the recommended one, unless it is the baseline itself."""
    if not results.illustrated:
        return None
    names = [item.name for item in (choice.chosen, choice.alternative) if item is not None and not item.is_baseline]
    return next(
        (item for name in names for item in results.others if item.name == name), next(iter(results.others), None)
    )


def pairs(subject: Subject, shown: VariantResult, _: Translate) -> list[Pair]:
    """Four prompts from the worst SSIM to the best, in even steps."""
    order = sorted(shown.quality["per_image"], key=lambda row: row["ssim"])
    last = len(order) - 1
    places = (
        (0, _("Worst image")),
        (last // 4, _("Lower quartile")),
        (last // 2, _("Median")),
        (last, _("Best image")),
    )
    texts = {item.id: item.prompt for item in subject.prompts}
    images, found = images_of(subject.images, [subject.results.baseline.name, shown.name]), {}
    for index, name in places:
        row = order[index]
        both = tuple(photograph(image[row["id"]], 2 * PAIRS_PER_ROW) for image in images.values())
        prompt = textwrap.shorten(texts[row["id"]], PROMPT_LETTERS, placeholder=" …")
        found.setdefault(row["id"], Pair(name, row["ssim"], prompt, both))
    return list(found.values())


def code(name: str, prompt: str) -> list[str]:
    """Five lines of Python that generate an image with the variant, from the top of the project."""
    short = textwrap.shorten(prompt, CODE_LETTERS, placeholder="")
    return [
        "from stages.lib.formats.shared.loading import load_pipeline",
        "",
        f"pipeline, arguments = load_pipeline({json.dumps(name)})",
        f"image = pipeline({json.dumps(short, ensure_ascii=False)}, **arguments)[0][0]",
        'image.save("image.png")',
    ]


def origin_of(params: Params, _: Translate) -> str:
    """Where the model is from."""
    model = params.chosen_model
    if model.source == "hub":
        values = {"repository": model.repository, "revision": model.revision[:12]}
        return _("Hugging Face Hub, %(repository)s at %(revision)s") % values
    sources = {
        "folder": _("the folder %(path)s"),
        "file": _("the file %(path)s"),
        "architecture": _("the configurations in %(path)s, with random weights"),
    }
    return sources[model.source] % {"path": model.path}
