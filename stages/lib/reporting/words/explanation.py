"""Why a variant is fast or slow: sentences that follow from what was measured, whatever it was."""

from collections.abc import Sequence
from dataclasses import dataclass

from stages.lib.formats.shared.executed_work import ExecutedWork, by_operator, shares, throughput, work_of
from stages.lib.project.variant import DTYPE_BITS
from stages.lib.reporting.languages import Translate, number
from stages.lib.reporting.numbers import dtype_name, figures, percent
from stages.lib.reporting.words.names import names_of
from stages.lib.results.records import Results
from stages.lib.timing.prediction import Prediction, RuntimeSpeedup, runs

AGREES = 0.1  # measured and predicted within ten percent agree


@dataclass(frozen=True)
class Explained:
    """One timed variant: what its sentences are made of. Work is of one image, both of the same benchmark."""

    label: str
    baseline: str
    stored_dtype: str
    prediction: Prediction
    work: Sequence[ExecutedWork]
    baseline_work: Sequence[ExecutedWork]
    runtime: RuntimeSpeedup | None = None
    runtime_label: str = ""


def explained_variants(results: Results) -> dict[str, Explained]:
    """Every timed variant but the baseline, with what is predicted of its speed, and why."""
    return {
        result.name: Explained(
            label=result.label,
            baseline=results.baseline.label,
            stored_dtype=result.variant.stored_dtype,
            prediction=Prediction(*runs(result.timing)),
            work=result.work,
            baseline_work=work_of(result.timing["baseline_executed"]),
            runtime=result.runtime,
            runtime_label=results.label(result.runtime.reference) if result.runtime else "",
        )
        for result in results.others
        if result.timed
    }


def explain(item: Explained, _: Translate) -> str:
    """A few sentences: predicted and measured, which kernels changed by how much, the rest, the runtime's own part."""
    sentences = [_verdict(item, _), _kernels(item, _), _rest(item, _), _runtime(item, _)]
    return " ".join(sentence for sentence in sentences if sentence)


def _verdict(item: Explained, _: Translate) -> str:
    prediction = item.prediction
    text = _(
        "%(label)s generates at %(measured)s times the speed of %(baseline)s, of whose image multiplication takes "
        "%(share)s; its kernels predict %(predicted)s times."
    )
    values = {"label": item.label, "baseline": item.baseline, "share": percent(prediction.multiplication_share)}
    return text % (values | figures("speedup", measured=prediction.measured, predicted=prediction.predicted))


def _kernels(item: Explained, _: Translate) -> str:
    """What each operator is executed in, and its throughput against the baseline's."""
    opening = ""
    if item.stored_dtype != "float32" and item.stored_dtype not in shares(item.work):
        if DTYPE_BITS[item.stored_dtype] < 16:
            text = _("No kernel executes %(dtype)s: the weights are unpacked first.")
        else:
            text = _("No kernel executes %(dtype)s: the weights are converted first.")
        opening = text % {"dtype": dtype_name(item.stored_dtype)} + " "
    baseline = by_operator(item.baseline_work)
    total = sum(row.image_multiply_accumulates for row in item.work)
    parts = []
    for operator, rows in by_operator(item.work).items():
        own, reference = throughput(rows), throughput(baseline.get(operator, ()))
        if own is None or reference is None:
            continue
        work = sum(row.image_multiply_accumulates for row in rows)
        values = {"operator": names_of("operator", _)[operator], "share": percent(work / total)}
        values["dtype"] = " + ".join(dtype_name(dtype) for dtype in shares(rows))
        values["ratio"] = number(own / reference, ".2f")
        parts.append(_("%(operator)s (%(share)s of the work) in %(dtype)s: %(ratio)s times") % values)
    text = _("Throughput of its kernels against %(baseline)s: %(parts)s.")
    return opening + (text % {"baseline": item.baseline, "parts": "; ".join(parts)} if parts else "")


def _rest(item: Explained, _: Translate) -> str:
    """Where measured and predicted part, it is what is no multiplication."""
    ratio = item.prediction.ratio
    if abs(ratio - 1) <= AGREES:
        return _("That agrees with the measurement within %(bound)s.") % {"bound": percent(AGREES)}
    rests = {"own": percent(item.prediction.variant.rest), "reference": percent(item.prediction.reference.rest)}
    values = {"baseline": item.baseline, **rests}
    longer = item.prediction.variant.rest > item.prediction.reference.rest
    if longer != (ratio < 1) or rests["own"] == rests["reference"]:
        return _("Why the measurement differs from that, these figures do not tell.")
    if ratio < 1:
        text = _(
            "It is slower than that: all that is no multiplication, such as rounding, unpacking and conversions, takes "
            "%(own)s of the time of an image of %(baseline)s, and only %(reference)s there."
        )
    else:
        text = _(
            "It is faster than that: all that is no multiplication takes %(own)s of the time of an image of "
            "%(baseline)s, and %(reference)s there."
        )
    return text % values


def _runtime(item: Explained, _: Translate) -> str:
    """What the runtime gives without the format, and what the format gives in it."""
    runtime = item.runtime
    if runtime is None:
        return ""
    speedups = {key: getattr(runtime, key) for key in ("alone", "ratio", "low", "high")}
    values = {"reference": item.runtime_label, **figures("speedup", **speedups)}
    if runtime.low <= 1 <= runtime.high:
        text = _(
            "The runtime alone (%(reference)s) gives %(alone)s times; what the format adds, %(ratio)s times "
            "(%(low)s to %(high)s), cannot be told from nothing."
        )
    else:
        text = _(
            "The runtime alone (%(reference)s) gives %(alone)s times, the format in it another %(ratio)s times "
            "(%(low)s to %(high)s)."
        )
    return text % values
