"""Every code that a stage writes has words in the report."""

from typing import get_args

import pytest

from stages import benchmark, controls
from stages.lib.formats.torch.layers import FIRST_AND_LAST, KINDS, MODULATION, TIME
from stages.lib.generation import safety
from stages.lib.project.errors import UserError
from stages.lib.project.params import RANDOM_WEIGHTS
from stages.lib.quality import figures
from stages.lib.quality.clip_features import Clip
from stages.lib.quality.metrics import PSNR_BANDS, rate_psnr
from stages.lib.reporting.words import names
from stages.lib.sensitivity.criticality import CRITICALITY
from stages.lib.study.limits import Verdict


@pytest.mark.parametrize(
    "code",
    [
        *(benchmark.SIMULATED_REASON, RANDOM_WEIGHTS, safety.NO_EMBEDDING, controls.ONE_PROMPT),
        *(figures.NO_CLIP, figures.NOT_SAMPLED, figures.TOO_SMALL),
    ],
)
def test_a_reason_is_a_code_and_has_a_sentence(code):
    assert code.isidentifier() and " " in names.reason(code, str)


def test_a_reason_of_other_code_is_an_error_that_says_what_to_do():
    with pytest.raises(UserError, match="give 'it was raining' as a reason.*dvc repro"):
        names.reason("it was raining", str)


def test_every_rating_effect_kind_and_verdict_has_words():
    assert {rate_psnr(value) for value in (None, 5.0, *(bound + 1 for _name, bound in PSNR_BANDS))} == set(
        names.names_of("rating", str)
    )
    assert {*CRITICALITY, *CRITICALITY.values()} == set(names.NAMES["effect"])
    assert {*KINDS.values(), FIRST_AND_LAST, MODULATION, TIME, "other"} == set(names.NAMES["layer_kind"])
    assert set(get_args(Verdict)) <= set(names.NAMES["verdict"])
    assert Clip.name in names.NAMES["feature"]
