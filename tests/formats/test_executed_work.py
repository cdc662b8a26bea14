"""Rows of executed work: shares, weights and throughputs worked out by hand."""

import json

import pytest

from stages.lib.formats.shared.executed_work import (
    ExecutedWork,
    by_operator,
    image_calls,
    shares,
    throughput,
    work_of,
)


def row(operator: str = "Conv2d", dtype: str = "int8", count: int = 10**9, **changes) -> ExecutedWork:
    fields = {"component": "unet", "graph": "main", "layers": 1, "time_s": 0.5, "calls": 1, **changes}
    return ExecutedWork(operator=operator, dtype=dtype, multiply_accumulates=count, **fields)


def test_a_graph_counts_as_often_as_a_image_calls_it():
    """Protects the share of a schedule: 3 calls in INT8 and 1 spared call of the same work are 75 %."""
    assert shares([row(calls=3), row(dtype="float32", graph="unquantized")]) == {"int8": 0.75, "float32": 0.25}
    assert shares([row(calls=0)]) == {} == shares([])


def test_throughput_is_work_over_time_of_all_rows():
    """Protects the mean: by time, not over rows."""
    assert throughput([row(count=3 * 10**9, time_s=1.0), row(count=10**9, time_s=3.0)]) == 1.0
    assert throughput([]) is None


def test_calls_of_other_components_are_not_shared_out():
    """Protects the VAE from the U-Net's schedule."""
    assert image_calls(row(component="vae"), {"vae": 1}, ("none",), scheduled=False) == 1


def test_a_schedule_may_name_several_precisions():
    """Protects the sum: each graph counts as often as its entry, "int8" and what comes after as the main one."""
    schedule = ("float32", "mixed", "int8", "none", "mixed")
    graphs = {"main": 5, "float32": 1, "mixed": 2, "unquantized": 1}
    assert {name: image_calls(row(graph=name), {"unet": 9}, schedule, scheduled=True) for name in graphs} == graphs


def test_operators_stand_in_order_and_only_if_they_occur():
    """Protects the columns of the report."""
    assert list(by_operator([row("Linear"), row("Conv2d"), row("Linear")])) == ["Conv2d", "Linear"]


def test_a_row_survives_its_file():
    """Protects reports/timing: what is written is what is read."""
    assert work_of(json.loads(json.dumps([row(calls=2).as_json()]))) == [row(calls=2)]


def test_an_unknown_operator_is_refused():
    """Protects the accounting from rows that no column shows."""
    with pytest.raises(ValueError, match="'Conv4d' in 'int8'"):
        row("Conv4d")
