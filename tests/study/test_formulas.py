"""The study's formulas: tried on numbers, not on what we think of them."""

import pytest

from stages.lib.project.files import read_json
from stages.lib.reporting.charts.formulas import FORMULAS
from stages.lib.study.formulas import affine_quantization, printed_quantization, study_formulas
from tests.conftest import PROJECT

EXACT = PROJECT / "data/study/stable_diffusion_v1_5.json"


def test_all_six_formulas_of_the_study_are_there_and_can_be_generated():
    found = study_formulas(read_json(EXACT), str)
    assert [item.section for item in found] == ["2.1.1", "2.2.1", "2.2.2", "2.3.1", "2.3.1", "3.4.1"]
    assert all(item.image in FORMULAS and item.correction in {None, *FORMULAS} for item in found)


def test_the_two_wrong_ones_are_found_and_corrected():
    found = study_formulas(read_json(EXACT), str)
    assert [item.section for item in found if not item.right] == ["2.1.1", "3.4.1"]
    assert all(item.correction and item.correction_words for item in found if not item.right)


def test_the_printed_quantization_is_off_by_the_zero_point():
    assert printed_quantization(1.0, 0.1, 3) == pytest.approx(4.0)
    assert affine_quantization(1.0, 0.1, 3) == pytest.approx(1.0)
    assert printed_quantization(1.0, 0.1, 0) == pytest.approx(affine_quantization(1.0, 0.1, 0))


def test_affine_quantization_stays_within_int8():
    assert affine_quantization(1000.0, 0.1, 3) == pytest.approx((127 - 3) * 0.1)


def test_the_sum_over_parameters_misses_packed_linear_weights():
    """(1,370,216,895 − 659,857,408) x 4 bytes = 2,709.8 MiB, worked out by hand."""
    size = study_formulas(read_json(EXACT), str)[-1]
    assert "3,339.1 MiB the sum finds 2,709.8" in size.reading


def test_a_model_without_linear_layers_would_make_the_sum_right():
    exact = read_json(EXACT)
    for part in exact["components"].values():
        part["linear_weights"] = 0
    assert study_formulas(exact, str)[-1].right
