"""What readers are told of two models in the same formats: whose images suffer, which speeds and rules carry over."""

from collections.abc import Sequence

from stages.lib.project.params import Params
from stages.lib.reporting.languages import N_, Translate, list_of, number, percent_of
from stages.lib.reporting.numbers import figure, quantity
from stages.lib.reporting.words.names import names_of, translated
from stages.lib.results.other_models import ComparedModel, Missing, Row, rank_correlation
from stages.lib.results.rules import Finding, Rules, Spared
from stages.lib.results.scenarios import Decision
from stages.lib.results.speeds import fastest, speedup_of

ALIKE, SIMILAR = 0.9, 0.6  # rank correlations from which two orders are called nearly the same, and similar
ABSENT = {
    "absent": N_("There are no records of %(label)s. `make report MODEL=%(key)s` makes them; then `make report` of this model compares."),
    "incomplete": N_("The records of %(label)s are of an earlier version or not complete. `make report MODEL=%(key)s` makes them again."),
    "baseline": N_("%(label)s was measured against another reference. `make report MODEL=%(key)s` measures it against this one."),
}
RULES = {
    "floats_of_16_bits": N_("16-bit floats leave the images as they are: SSIM of %(same)s or more."),
    "weights_of_8_bits": N_("Weights in INT8 alone keep an SSIM of %(threshold)s."),
    "activations_cost_more": N_("Rounding the activations to INT8 as well costs more than %(margin)s SSIM."),
    "weights_of_4_bits": N_("Weights in INT4 throughout do not keep an SSIM of %(threshold)s."),
    "mixed_bits": N_("With the worst layers spared, INT4 keeps an SSIM of %(threshold)s."),
    "mixtures_win": N_("A mixture of fewer bits in the mean beats more bits throughout."),
    "spare_the_ends": N_("The first and the last layer are what must be spared: most of the noise at 4 bits is theirs."),
    "runtime_alone": N_("Another runtime is faster in FP32 already, with the same images."),
    "integers_are_fastest": N_("The fastest format computes in INT8."),
    "denoiser_decides": N_("The denoiser causes the largest part of the damage."),
    "text_encoders_withstand": N_("The text encoders withstand 8 bits in every image."),
    "decoder_withstands": N_("The decoder withstands 8 bits in every image."),
    "early_calls": N_("The first third of the denoiser's calls is the most sensitive."),
}


def absent_words(model: Missing, _: Translate) -> str:
    """Why a model is not compared, and what to do."""
    return _(ABSENT[model.reason]) % {"label": translated(model.label, _), "key": model.key}


def rule_words(rules: Rules, params: Params, _: Translate) -> str:
    """The rule, with the bounds of params.yaml."""
    margin, threshold = params.quality.margins.ssim, params.scenarios[params.main_scenario].ssim_threshold
    values = {"same": 1 - margin, "margin": margin, "threshold": threshold}
    return _(RULES[rules.key]) % {key: number(value, "g") for key, value in values.items()}


def finding_words(finding: Finding, _: Translate) -> str:
    """The figures that a rule was held against."""
    return {
        "ssim": _ssim,
        "speedup": _speedup,
        "change": _change,
        "component": _component,
        "effects": _effects,
        "window": _window,
        "layers": _layers,
        "budget": _budget,
    }[finding.shape](finding.figures, _)


def _ssim(found: dict, _: Translate) -> str:
    values = {"label": found["label"], **_interval("ssim", found["ssim"])}
    return _("%(label)s: %(value)s (%(low)s to %(high)s)") % values


def _speedup(found: dict, _: Translate) -> str:
    values = {"label": found["label"], **_interval("speedup", found["speedup"])}
    return _("%(label)s: %(value)s× (%(low)s to %(high)s)") % values


def _interval(key: str, found) -> dict[str, str]:
    return {"value": figure(key, found.value), "low": figure(key, found.low), "high": figure(key, found.high)}


def _change(found: dict, _: Translate) -> str:
    change = found["change"]
    values = {"mean": number(change.mean, "+.3f"), "label": found["label"], "other": found["other"]}
    if change.low is None:
        return _("%(label)s against %(other)s: %(mean)s") % values
    values |= {"low": number(change.low, "+.3f"), "high": number(change.high, "+.3f")}
    return _("%(label)s against %(other)s: %(mean)s (%(low)s to %(high)s)") % values


def _component(found: dict, _: Translate) -> str:
    values = {"component": names_of("component", _)[found["component"]], "format": found["format"], "n": found["n"]}
    text = _("%(format)s: %(component)s %(share)s of the damage, n = %(n)d images")
    return text % (values | {"share": percent_of(found["share"], ".0f")})


def _effects(found: dict, _: Translate) -> str:
    name, worst = names_of("component", _)[found["component"]], found["psnr_worst_db"]
    if worst is None:
        return _("%(component)s: all images identical") % {"component": name}
    values = {"component": name, "mean": quantity(found["psnr_db"], "psnr_db"), "worst": quantity(worst, "psnr_db")}
    return _("%(component)s: %(mean)s, the worst image %(worst)s") % values


def _window(found: dict, _: Translate) -> str:
    return _("worst: calls %(first)d to %(last)d of %(calls)d, in %(own)d of n = %(n)d images") % found


def _layers(found: dict, _: Translate) -> str:
    values = {key: percent_of(found[key], ".1f") for key in ("noise", "weights")}
    return _("%(noise)s of the noise, %(weights)s of the weights") % values


def _budget(found: dict, _: Translate) -> str:
    return _("%(mixed)s bits in a mixture against %(uniform)s throughout") % {
        "mixed": number(found["mixed"], ".2f"),
        "uniform": number(found["uniform"], ".0f"),
    }


def answer_words(own: ComparedModel, other: ComparedModel, number_: int, rules: Sequence[Rules], params, _) -> str:
    """How many of the rules turn out alike on both, and which do not."""
    verdicts = [(item, item.transfers(number_)) for item in rules]
    told = [same for _item, same in verdicts if same is not None]
    values = {"own": translated(own.label, _), "other": translated(other.label, _), "told": len(told)}
    if not told:
        return _("On no rule of thumb do the figures of %(own)s and %(other)s both tell.") % values
    values |= {"alike": sum(told), "untold": len(verdicts) - len(told)}
    text = _("Of %(told)d rules of thumb that %(own)s and %(other)s both tell of, %(alike)d turn out alike.")
    found = [text % values]
    if differ := [rule_words(item, params, _) for item, same in verdicts if same is False]:
        found.append(_("They part over: %(rules)s") % {"rules": " ".join(differ)})
    if values["untold"]:
        found.append(_("Of %(untold)d more at least one of them cannot tell.") % values)
    return " ".join(found)


def cautions(models: Sequence[ComparedModel], images: Sequence[str], _: Translate) -> list[str]:
    """What keeps the models' figures from being compared as they stand."""
    own, found = models[0], []
    labels = {model.key: translated(model.label, _) for model in models}
    for other in models[1:]:
        values = {"own": labels[own.key], "other": labels[other.key], "fingerprint": other.fingerprint}
        if own.fingerprint and other.fingerprint and own.fingerprint != other.fingerprint:
            text = _("%(other)s was timed on another machine (fingerprint %(fingerprint)s): speeds are not compared.")
            found.append(text % values)
        if other.redefined:
            text = _("Left out are formats in which %(other)s was measured with other settings: %(labels)s.")
            found.append(text % (values | {"labels": ", ".join(other.redefined)}))
        if alone := [item.label for item in own.variants if not other.find(item.name)]:
            text = _("Not compared, since %(other)s has no record of them: %(labels)s.")
            found.append(text % (values | {"labels": ", ".join(alone)}))
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
        "The same prompts in %(count)d formats, SSIM of %(other)s against that of %(own)s (n = %(n)d images, 95 %% "
        "intervals of paired differences):"
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
        if row.name != own.baseline and row.cells[place] and row.cells[0].item.timed and row.cells[place].item.timed
    ]
    if not timed or own.fingerprint != other.fingerprint:
        return ""
    names = {"own": translated(own.label, _), "other": translated(other.label, _)}
    speeds = {row.label: (speedup_of(one.timing), speedup_of(two.timing)) for row, one, two in timed}
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
    best = [fastest({item.name: item.timing for item in items})[0] for items in zip(*[t[1:] for t in timed], strict=True)]
    labels = {row.name: row.label for row, _one, _two in timed}
    if best[0] == best[1]:
        found.append(_("The fastest format is the same on both, %(label)s.") % {"label": labels[best[0]]})
    else:
        text = _("The fastest format of %(own)s is %(first)s, that of %(other)s %(second)s.")
        found.append(text % (names | {"first": labels[best[0]], "second": labels[best[1]]}))
    return " ".join(found)


def spare_words(model: ComparedModel, spared: Spared, share: float, _: Translate) -> str:
    """How few layers cause a share of the noise, and of what kind they are."""
    kinds = names_of("layer_kind", _)
    text = _(
        "%(label)s: %(layers)d of %(of)d layers, with %(weights)s of the weights, cause %(share)s of the noise variance "
        "that single layers at 4 bits add up to; first of all %(first)s. By kind: %(kinds)s."
    )
    return text % {
        "label": translated(model.label, _),
        "layers": spared.layers,
        "of": spared.of,
        "weights": percent_of(spared.weights, ".1f"),
        "share": percent_of(share, ".0f"),
        "first": spared.first,
        "kinds": ", ".join(f"{kinds[kind]} {count}" for kind, count in spared.kinds),
    }


def uses_words(own: ComparedModel, other: ComparedModel, place: int, decisions: Sequence[Sequence[Decision]], _) -> str:
    """In how many scenarios both models are given the same format, and where this model's would not do there."""
    pairs = [(found[0], found[place]) for found in decisions if found[0].winner and found[place].winner]
    if not pairs:
        return ""
    same = sum(one.winner.name == two.winner.name for one, two in pairs)
    unfit = sum(one.winner.name not in {item.name for item in two.eligible} for one, two in pairs)
    values = {"own": translated(own.label, _), "other": translated(other.label, _)}
    text = _(
        "Of %(count)d scenarios that both have an answer to, %(same)d recommend the same format; in %(unfit)d the format "
        "that is recommended for %(own)s does not meet the limits on %(other)s."
    )
    return text % (values | {"count": len(pairs), "same": same, "unfit": unfit})
