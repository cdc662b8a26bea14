"""Which format runs on which machine: what documents say of known cards, and that this machine's column is its own."""

import pytest

from stages.lib.formats.shared.availability import find_obstacle
from stages.lib.project.params import load_params, variant_of
from stages.lib.reporting.words.what_runs_words import REASONS, what_runs_table
from stages.lib.results.what_runs import (
    CANNOT,
    CARDS,
    FOREIGN,
    NO_GAIN,
    ON_ITS_CPU,
    RUNS,
    SOURCES,
    shown_variants,
    verdict,
    what_runs,
)
from tests.clone import PROJECT

PARAMS = load_params(PROJECT / "params.yaml")
BY_LABEL = {card.label: card for card in CARDS}


def variant(**keys):
    return variant_of(name="v", label="V", **{"backend": "torch", "weights": "float32"} | keys)


@pytest.mark.parametrize(
    "keys, card, state",
    [
        ({"weights": "float16"}, "AMX", NO_GAIN),  # computed in FP32
        ({"weights": "float16"}, "Turing 7.5", RUNS),
        ({"weights": "bfloat16"}, "Turing 7.5", NO_GAIN),
        ({"weights": "bfloat16"}, "Ampere 8.6", RUNS),
        ({"weights": "bfloat16"}, "AVX512 VNNI", NO_GAIN),
        ({"weights": "bfloat16"}, "AVX512 BF16", RUNS),
        ({"compute": "tensorfloat32", "device": "cuda"}, "Turing 7.5", CANNOT),
        ({"compute": "tensorfloat32", "device": "cuda"}, "Hopper 9.0", RUNS),
        ({"weights": "int8", "simulated": True}, "Hopper 9.0", NO_GAIN),
        ({"backend": "openvino", "compute": "bfloat16", "device": "cpu"}, "AVX2", CANNOT),
        ({"backend": "openvino", "compute": "float32", "device": "cpu"}, "AVX2", NO_GAIN),
        ({"backend": "openvino", "compute": "float32", "device": "cpu"}, "Ada 8.9", ON_ITS_CPU),
        ({"backend": "torchao", "weights": "float8", "activations": "float8"}, "Ampere 8.6", CANNOT),
        ({"backend": "torchao", "weights": "float8", "activations": "float8"}, "Ada 8.9", RUNS),
        ({"backend": "torchao", "weights": "int8", "activations": "int8"}, "AVX2", NO_GAIN),
        ({"backend": "torchao", "weights": "int8", "activations": "int8"}, "AVX512 VNNI", RUNS),
        ({"backend": "bitsandbytes", "weights": "int8"}, "AVX512 VNNI", RUNS),
        ({"backend": "bitsandbytes", "weights": "nf4"}, "Turing 7.5", NO_GAIN),
        ({"backend": "layerwise", "weights": "float8"}, "AVX512 BF16", RUNS),
        ({"backend": "sdnq", "weights": "int8", "activations": "int8"}, "AVX2", CANNOT),
        ({"backend": "sdnq", "weights": "int8", "activations": "int8"}, "AVX512 VNNI", RUNS),
        ({"backend": "sdnq", "weights": "int8", "activations": "int8"}, "Hopper 9.0", RUNS),
        ({"backend": "sdnq", "weights": "int8"}, "AVX2", NO_GAIN),
        ({"backend": "sdnq", "weights": "uint4"}, "Ampere 8.6", RUNS),
    ],
)
def test_a_known_card_does_what_its_maker_says(keys, card, state):
    assert verdict(variant(**keys), BY_LABEL[card]).state == state


def test_this_machine_s_column_agrees_with_what_keeps_formats_from_running_here():
    here = {"gpu": None, "gpu_compute_capability": None, "instruction_sets": ["avx2"]}
    _, table = what_runs(PARAMS, here)
    for name, row in table.items():
        assert (row[0].state == CANNOT) == bool(find_obstacle(shown_variants(PARAMS)[name], "auto", here, {})), name
    assert {row[0].state for row in table.values()} >= {CANNOT, NO_GAIN}


def test_every_statement_names_who_says_so_and_every_obstacle_has_a_note():
    cards, table = what_runs(PARAMS, {"gpu": None, "gpu_compute_capability": None, "instruction_sets": []})
    for row in table.values():
        assert all(found.source in SOURCES for found in row if found.state == RUNS)
    assert all(item.source in SOURCES and item.reason in REASONS for item in FOREIGN)
    words = what_runs_table(PARAMS, cards[0].described(), str)
    for name, row in table.items():
        for found in row:
            label = shown_variants(PARAMS)[name].label
            assert not found.obstacle or any(label in note.partition(":")[0].split(", ") for note in words.notes)
