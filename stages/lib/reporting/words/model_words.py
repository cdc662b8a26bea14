"""What readers are told of two models in the same formats: whose images suffer, which speeds and rules carry over."""

from collections.abc import Sequence

from stages.lib.project.params import Params
from stages.lib.reporting.languages import N_, Translate, list_of, number, percent_of
from stages.lib.reporting.words.names import names_of, translated
from stages.lib.reporting.words.rule_words import rule_words
from stages.lib.results.other_models import ComparedModel, Missing, Row, rank_correlation
from stages.lib.results.rules import Rules
from stages.lib.results.scenarios import Decision
from stages.lib.results.spared import Spared
from stages.lib.results.speeds import fastest, speedup_of

ALIKE, SIMILAR = 0.9, 0.6  # rank correlations from which two orders are called nearly the same, and similar
ABSENT = {
    "absent": N_(
        "There are no records of %(label)s to compare with. make report MODEL=%(key)s makes them; the next report of "
        "this model compares."
    ),
    "incomplete": N_(
        "The records of %(label)s are of an earlier version or not complete: make report MODEL=%(key)s makes them "
        "again."
    ),
    "baseline": N_(
        "%(label)s was measured against another reference: make report MODEL=%(key)s measures it against this one."
    ),
}


def absent_words(model: Missing, _: Translate) -> str:
    """Why a model is not compared, and what to do."""
    return _(ABSENT[model.reason]) % {"label": translated(model.label, _), "key": model.key}


def answer_words(
    own: ComparedModel, other: ComparedModel, place: int, rules: Sequence[Rules], params: Params, _: Translate
) -> list[str]:
    """How many of the rules turn out alike on both, then which are true of whom."""
    held: dict[tuple[bool, bool], list[str]] = {}
    for item in rules:
        if item.transfers(place) is not None:
            pair = item.findings[0].holds, item.findings[place].holds
            held.setdefault(pair, []).append(rule_words(item, params, _))
    told = sum(map(len, held.values()))
    values = {"own": translated(own.label, _), "other": translated(other.label, _), "told": told}
    if not told:
        return [_("There is no rule of thumb that the figures of %(own)s and of %(other)s both decide.") % values]
    values |= {"alike": sum(len(found) for (one, two), found in held.items() if one == two)}
    text = _(
        "Rules of thumb that the figures of %(own)s and of %(other)s both decide: %(told)d; alike on both: %(alike)d."
    )
    found = [text % values]
    for pair, words in (
        ((True, True), _("True of both: %(rules)s")),
        ((True, False), _("True of %(own)s alone: %(rules)s")),
        ((False, True), _("True of %(other)s alone: %(rules)s")),
        ((False, False), _("True of neither: %(rules)s")),
    ):
        if pair in held:
            found.append(words % (values | {"rules": " ".join(held[pair])}))
    if untold := len(rules) - told:
        found.append(_("Left undecided by one of them at least: %(untold)d.") % {"untold": untold})
    return found


def cautions(models: Sequence[ComparedModel], images: Sequence[str], _: Translate) -> list[str]:
    """What keeps the models' figures from being compared as they stand."""
    own, found = models[0], []
    labels = {model.key: translated(model.label, _) for model in models}
    for other in models[1:]:
        values = {"own": labels[own.key], "other": labels[other.key], "fingerprint": other.fingerprint}
        if own.fingerprint and other.fingerprint and own.fingerprint != other.fingerprint:
            text = _("%(other)s was timed on another machine (fingerprint %(fingerprint)s): speeds are not compared.")
            found.append(text % values)
        if own.roles and own.roles.get("denoiser") == other.roles.get("denoiser"):
            text = _("%(other)s has the same kind of denoiser: it is another model, not another architecture.")
            found.append(text % values)
        if other.redefined:
            text = _("Left out are formats in which %(other)s was measured with other settings: %(labels)s.")
            found.append(text % (values | {"labels": ", ".join(other.redefined)}))
        if alone := [item.label for item in own.variants if not other.find(item.name)]:
            text = _("Not compared, since %(other)s has no record of them: %(labels)s.")
            found.append(text % (values | {"labels": ", ".join(alone)}))
    found += [
        _("No speed of %(label)s is to be trusted, so speeds are not compared.") % {"label": labels[model.key]}
        for model in models
        if not model.reference.timing.get("trusted", True)
    ]
    found += [
        _("Of %(label)s no images were judged, so its quality is not compared.") % {"label": labels[model.key]}
        for model in models
        if not model.images
    ]
    generated = [len(model.images) for model in models if model.images]
    if len(generated) > 1 and not images:
        found.append(_("They have no prompt in common: quality is not compared."))
    elif len(generated) > 1 and max(generated) > len(images):
        text = _("Quality is compared on the n = %(n)d prompts that all of them have generated.")
        found.append(text % {"n": len(images)})
    return found


def quality_words(own: ComparedModel, other: ComparedModel, place: int, rows: Sequence[Row], _: Translate) -> str:
    """In which formats the images of which model suffer more, and whether the formats stand in the same order."""
    told = {row.label: row.differences[place - 1] for row in rows if row.name != own.baseline}
    told = {label: found for label, found in told.items() if found}
    if not told:
        return ""
    by = {verdict: [label for label, item in told.items() if item.verdict == verdict] for verdict in VERDICTS}
    values = {"own": translated(own.label, _), "other": translated(other.label, _), "count": len(told)}
    first = next(iter(told.values()))
    text = _(
        "SSIM of %(other)s against that of %(own)s, format by format on the same n = %(n)d prompts (95 %% intervals of "
        "paired differences):"
    )
    values |= {"n": first.n}
    parts = []
    for verdict, words in (
        ("higher", _("higher in %(labels)s")),
        ("lower", _("lower in %(labels)s")),
        ("equal", _("equal within %(margin)s in %(labels)s")),
        ("undecided", _("not told in %(labels)s")),
    ):
        if by[verdict]:
            parts.append(words % {"labels": list_of(by[verdict]), "margin": number(first.margin, "g")})
    found = [f"{text % values} {'; '.join(parts)}."]
    if ranked := rank_correlation(rows, place, own.baseline):
        value, count = ranked
        if value >= ALIKE:
            text = _("Ordered by mean SSIM, the formats stand nearly alike on both")
        elif value >= SIMILAR:
            text = _("Ordered by mean SSIM, the formats stand in a similar order on both")
        else:
            text = _("Ordered by mean SSIM, the formats stand in another order on each")
        tail = _("(Spearman's rank correlation %(value)s over %(count)d formats).")
        found.append(f"{text} {tail % {'value': number(value, '.2f'), 'count': count}}")
    return " ".join(found)


VERDICTS = ("higher", "lower", "equal", "undecided")


def speed_words(own: ComparedModel, other: ComparedModel, place: int, rows: Sequence[Row], _: Translate) -> str:
    """Which formats are faster than the baseline on which model; '' where they were timed on different machines."""
    timed = [
        (row, row.cells[0].item, row.cells[place].item)
        for row in rows
        if row.cells[place] and row.cells[0].item.timed and row.cells[place].item.timed
    ]
    trusted = all(model.reference.timing.get("trusted", True) for model in (own, other))
    if len(timed) < 2 or own.fingerprint != other.fingerprint or not trusted:
        return ""
    names = {"own": translated(own.label, _), "other": translated(other.label, _)}
    speeds = {
        row.label: (speedup_of(one.timing), speedup_of(two.timing))
        for row, one, two in timed
        if row.name != own.baseline
    }
    faster = {label: (one.low > 1, two.low > 1) for label, (one, two) in speeds.items()}
    found = []
    for wanted, words in (
        ((True, True), _("Faster than the reference on both: %(labels)s.")),
        ((True, False), _("Faster on %(own)s alone, as far as the intervals tell: %(labels)s.")),
        ((False, True), _("Faster on %(other)s alone, as far as the intervals tell: %(labels)s.")),
    ):
        if labels := [label for label, held in faster.items() if held == wanted]:
            found.append(words % (names | {"labels": ", ".join(labels)}))
    for side, words in (
        (1, _("The speed-up is greater on %(other)s, intervals apart, in %(labels)s.")),
        (-1, _("The speed-up is smaller on %(other)s, intervals apart, in %(labels)s.")),
    ):
        apart = [
            label
            for label, (one, two) in speeds.items()
            if not one.overlaps(two) and side * (two.value - one.value) > 0
        ]
        if apart:
            found.append(words % (names | {"labels": list_of(apart)}))
    first, second = (
        list_of(
            [item.label for item in items if item.name in fastest({item.name: item.timing for item in items})], "or"
        )
        for items in zip(*([one, two] for _row, one, two in timed), strict=True)
    )
    text = _("Fastest on %(own)s, as far as the intervals tell: %(first)s; on %(other)s: %(second)s.")
    return " ".join([*found, text % (names | {"first": first, "second": second})])


def spare_words(model: ComparedModel, spared: Spared, _: Translate) -> str:
    """How few layers cause most of the noise, and of what kind they are."""
    kinds = names_of("layer_kind", _)
    text = _(
        "%(label)s: %(noise)s of the noise variance that single layers at 4 bits add up to comes from %(layers)d of "
        "%(of)d layers with %(weights)s of the weights, first of all from %(first)s. By kind: %(kinds)s."
    )
    return text % {
        "label": translated(model.label, _),
        "layers": spared.layers,
        "of": spared.of,
        "noise": percent_of(spared.noise, ".0f"),
        "weights": percent_of(spared.weights, ".2g"),
        "first": spared.first,
        "kinds": ", ".join(f"{kinds[kind]} {count}" for kind, count in spared.kinds),
    }


def spare_difference(own: ComparedModel, other: ComparedModel, one: Spared, two: Spared, _: Translate) -> str:
    """Which kinds of layers are among those to spare on both models, and which on one alone."""
    names = names_of("layer_kind", _)
    here, there = ({kind for kind, _count in found.kinds} for found in (one, two))
    values = {"own": translated(own.label, _), "other": translated(other.label, _)}
    found = []
    for kinds, text in (
        (here & there, _("Kinds of layers among these on both: %(kinds)s.")),
        (here - there, _("On %(own)s alone: %(kinds)s.")),
        (there - here, _("On %(other)s alone: %(kinds)s.")),
    ):
        if kinds:
            found.append(text % (values | {"kinds": list_of(sorted(names[kind] for kind in kinds))}))
    return " ".join(found)


def uses_words(
    own: ComparedModel, other: ComparedModel, place: int, decisions: Sequence[Sequence[Decision]], _: Translate
) -> str:
    """In how many scenarios both models are given the same format, and where this model's would not do there."""
    pairs = [(found[0], found[place]) for found in decisions if found[0].winner and found[place].winner]
    if not pairs:
        return ""
    same = sum(one.winner.name == two.winner.name for one, two in pairs)
    unfit = sum(one.winner.name not in {item.name for item in two.eligible} for one, two in pairs)
    values = {"own": translated(own.label, _), "other": translated(other.label, _)}
    text = _(
        "Scenarios that both have an answer to: %(count)d; with the same recommended format: %(same)d; with one "
        "recommended for %(own)s that does not meet the limits on %(other)s: %(unfit)d."
    )
    return text % (values | {"count": len(pairs), "same": same, "unfit": unfit})
