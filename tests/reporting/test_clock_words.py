"""What the first page says of the speeds: from made-up runs in which the opposite would be false."""

import pytest

from stages.lib.project.params import variant_of
from stages.lib.reporting.languages import NO_BREAK_SPACE
from stages.lib.reporting.words.clock_words import imprecise, trust
from stages.lib.results.records import Results, VariantResult
from stages.lib.results.speeds import stated
from tests.timings import PLAIN, calls_of, spread


def results(itself: float, factor: float = 1.01, precise: bool = True, **disturbance) -> Results:
    calls = [{**call, **disturbance} for call in calls_of(spread(itself, factor))]
    timing = {"measured": True, "calls": calls, "run_peak_mib": 500.0, "precise": precise, "limit_s": 17.0}
    timings, clock = stated({"fp32": timing}, "fp32")
    fp32 = variant_of(name="fp32", label="FP32", backend="torch", weights="float32")
    only = VariantResult(
        variant=fp32, is_baseline=True, compression=1.0, size={}, timing=timings["fp32"], quality={}, generated={}
    )
    return Results({}, (only,), (), clock)


def said_of(found: Results) -> str:
    return trust(found.clock, "FP32", str).replace(NO_BREAK_SPACE, " ")


def test_a_quiet_run_says_what_it_can_tell():
    said = said_of(results(1.01, 1.02))
    assert "FP32, timed against itself, came out 1.01 times as fast (95 % interval 0.99 to 1.03, restarts: 2)" in said
    assert "Differences of speed below 3 % cannot be told" in said and "not to be trusted" not in said


@pytest.mark.parametrize("itself", [0.88, 1.08])
def test_a_noisy_reference_takes_the_speeds_their_trust_and_says_why(itself):
    """Protects a reader from 0.88 without a consequence."""
    said = said_of(results(itself, steal=0.031, interruptions_per_s=70.0))
    assert "The speeds of this run are not to be trusted" in said and "off by more than 5 %" in said
    assert "threads were interrupted 70 times a second" in said and "up to 3.1 % of the processors' time" in said
    assert "clock was at 2.60 GHz" in said


def test_what_was_not_recorded_is_not_told():
    said = said_of(results(0.8, **dict.fromkeys(PLAIN)))
    assert said.endswith("off by more than 5 %.")


def test_an_interval_that_stayed_wide_is_told_with_the_limit():
    assert imprecise(results(1.0), str) == ""
    said = imprecise(results(1.0, precise=False), str)
    assert said.startswith(
        "For 1 of 1 formats the interval did not get as narrow as asked within the time limit of 17 s"
    )


def test_a_little_steal_is_not_called_none():
    """Protects from 'others took up to 0.0 %' of what they took some of."""
    assert "up to 0.1 % of the processors' time" in said_of(results(0.8, steal=0.0003, interruptions_per_s=70.0))
    assert "took none of the processors' time" in said_of(results(0.8, steal=0.0, interruptions_per_s=70.0))
