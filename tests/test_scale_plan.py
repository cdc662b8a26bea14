"""The plan of many images: what no scheduler beats, what was measured comes out again, and the note has the table."""

import pytest

from stages.lib.project.files import read_json
from tests.conftest import PROJECT
from tools.scale_plan import (
    RECORD,
    TIMING,
    WHOLE_S,
    image_times_s,
    joining_s,
    line_through,
    plan,
    rows,
    short,
    simulated_s,
)


def test_a_schedule_lies_between_what_nobody_can_beat_and_one_image_more():
    times_s = [1.0, 2.0, 3.0]
    assert simulated_s(7, 1, [2.0]) == 14 and simulated_s(7, 7, [2.0]) == 2 and simulated_s(8, 7, [2.0]) == 4
    work_s = simulated_s(1000, 1, times_s)  # the same images, as the seed is
    for processes in (2, 8, 64):
        assert work_s / processes <= simulated_s(1000, processes, times_s) <= work_s / processes + max(times_s)


def test_what_was_measured_comes_out_again():
    (spread,) = read_json(PROJECT / RECORD)["spread"]
    found = plan(spread["images"], spread["gpus"], image_times_s(spread, [0.3]))
    assert found["generation"] + found["loading"] == pytest.approx(spread["seconds"])
    assert line_through(WHOLE_S, 500) == 344.7 and 10 < line_through(WHOLE_S, 0) < 20


def test_more_images_than_a_prompts_file_has_are_several_runs():
    one, many = plan(80_000, 8, [1.0]), plan(1_000_000, 8, [1.0])
    assert many["loading"] == pytest.approx(12 * one["loading"])
    assert many["generation"] == pytest.approx(1_000_000 / 64, rel=1e-3)


def test_the_note_has_the_table_that_the_tool_prints():
    note = (PROJECT / "docs/scale.md").read_text(encoding="utf-8")
    (spread,) = read_json(PROJECT / RECORD)["spread"]
    calls = [call["latency_s"] for call in read_json(PROJECT / TIMING)["calls"]]
    assert "\n".join(rows(spread, calls, 1.0)) in note


def test_figures_have_two_digits():
    assert [short(value) for value in (0.164, 24.4, 667.0)] == ["0.16", "24", "670"]


def test_joining_is_timed_on_folders_that_a_run_leaves():
    assert 0 < joining_s(3) < 60
