"""Stage benchmark: calls alternate, ratios are paired, and a timing process neither lies nor survives."""

import json
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from stages import benchmark
from stages.lib.formats.shared.executed_work import shares, work_of
from stages.lib.project.errors import UserError
from stages.lib.project.memory import SamplingMeter
from stages.lib.project.prompts import load_prompts
from stages.lib.timing import timed_model, turns
from stages.lib.timing.process import TimingProcess
from stages.lib.timing.ratios import paired_ratios, ratio_of_calls
from stages.lib.timing.timed_model import Task
from tests.conftest import PROJECT
from tests.processes import HANGING_S
from tests.tiny_project import FINGERPRINT, write_models, write_settings
from tests.warm_python import warm_python

PYTHON = sys.executable
STEPS = 3
COMMAND = ["benchmark", "--models", "data/runs/tiny/models", "--noise", "data/runs/tiny/noise.safetensors"]
COMMAND += ["--environment", "reports/environment.json", "--output", "reports/tiny/timing/out.json", "--variant"]


@pytest.fixture(scope="module")
def models(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with two models and the noise."""
    folder = tmp_path_factory.mktemp("benchmark") / "project"
    write_settings(folder)
    write_models(folder, tiny_model, ("fp32", "bf16"))
    return folder


@pytest.fixture
def project(models: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same project as the current folder, for this process and those it starts."""
    monkeypatch.chdir(models)
    monkeypatch.setattr(sys, "executable", warm_python())
    monkeypatch.setenv("PYTHONPATH", str(PROJECT))
    return models


def task(**changes: object) -> Task:
    fields = {
        "variant": "fp32",
        "folder": "data/runs/tiny/models/fp32",
        "device": "cpu",
        "threads": 1,
        "prompt": "A cat",
        "prompt_id": "animal",
        "noise": "data/runs/tiny/noise.safetensors",
        "seed": 43,
        "arguments": {"num_inference_steps": STEPS, "guidance_scale": 7.5},
        "longest_image_s": 60.0,
    }
    return Task(**{**fields, **changes})


def test_turns_come_by_chance_and_are_turned_round() -> None:
    """Protects against drift: of every four calls each process has the first and the last, or the two between."""
    order = list(turns.turns(40, Random(1)))
    blocks = {tuple(order[place : place + 4]) for place in range(0, 80, 4)}
    assert blocks == {(first, other, other, first) for first, other in (turns.ROLES, turns.ROLES[::-1])}


def test_component_times_are_per_call() -> None:
    """Protects 'U-Net per step': samples of all images, calls counted in one."""
    first, second = {"unet": [1.0, 2.0], "other": [0.5]}, {"unet": [3.0, 4.0], "other": [0.7]}
    unet, other = turns.component_times(
        [{"times_s": times, "calls_per_image": {"unet": 2}} for times in (first, second)]
    )
    assert (unet["calls_per_image"], unet["n"], unet["median"]) == (2, 4, 2.5)
    assert (other["calls_per_image"], other["samples"]) == (1, [0.5, 0.7])


def test_the_stage_times_two_fresh_processes_in_turns(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the whole file: order of calls, every figure there, its parts consistent with one another."""
    monkeypatch.setattr(sys, "executable", PYTHON)
    monkeypatch.setattr(sys, "argv", [*COMMAND, "bf16"])
    benchmark.main()
    timing = json.loads((project / "reports/tiny/timing/out.json").read_text(encoding="utf-8"))
    assert timing["measured"] is True and timing["fingerprint"] == FINGERPRINT and timing["threads"] == 1
    assert (timing["prompt"], timing["steps"], timing["height"], timing["width"]) == ("animal", STEPS, 32, 32)
    assert [call["call"] for call in timing["calls"]] == list(range(8))
    for number in range(2):
        names = [call["variant"] for call in timing["calls"] if call["restart"] == number]
        assert names == names[::-1] and set(names) == {"bf16", "fp32"}
    ratio = timing["ratio"]
    assert (ratio["restarts"], timing["limit_s"]) == (2, 1.0) and ratio["low"] <= ratio["value"] <= ratio["high"]
    assert all(call["interruptions_per_s"] >= 0 for call in timing["calls"])
    measured = {item["name"]: item for item in timing["measurements"]}
    for variant, name in (("bf16", "latency_s"), ("fp32", "baseline_latency_s")):
        assert measured[name]["samples"] == [
            call["latency_s"] for call in timing["calls"] if call["variant"] == variant
        ]
    kept = paired_ratios(timing["calls"])
    assert sum(map(len, kept)) + timing["discarded"] == 4  # other programs interrupt calls as they like
    assert ratio["value"] == pytest.approx(ratio_of_calls(timing["calls"]).value, rel=1e-5)
    assert (measured["load_time_s"]["n"], measured["first_call_s"]["n"], measured["libraries_mib"]["n"]) == (1, 2, 1)
    assert 50 < timing["libraries_mib"] < timing["run_peak_mib"]
    assert timing["load_time_s"] > 0
    assert timing["memory_kind"] == "rss" and 50 < timing["run_peak_mib"] < 3000
    assert timing["load_peak_mib"] > 50
    (batch,) = timing["batches"]
    assert (batch["batch_size"], batch["latency_per_image_s"]["n"]) == (2, 2)
    assert batch["latency_per_image_s"]["median"] > 0 and batch["run_peak_mib"] > 50
    parts = {item["component"]: item for item in timing["components"]}
    counts = {name: item["calls_per_image"] for name, item in parts.items()}
    # Two texts with guidance; PNDM calls the U-Net once more than there are steps.
    assert counts == {"text_encoder": 2, "unet": STEPS + 1, "vae": 1, "safety_checker": 1, "other": 1}
    assert all(item["minimum"] > 0 for item in parts.values())
    work, baseline = work_of(timing["executed"]), work_of(timing["baseline_executed"])
    assert {row.dtype for row in baseline} == {"float32"} and shares(work)["bfloat16"] > 0.99
    assert {row.component: row.calls for row in work} == {
        "text_encoder": 2,
        "unet": STEPS + 1,
        "vae": 1,
        "safety_checker": 1,
    }
    assert all(row.time_s > 0 for row in work + baseline)


def test_a_schedule_shares_the_calls_of_the_unet_between_its_graphs() -> None:
    """Protects the weight of INT8 where some calls are spared: two of four here."""
    fields = {"operator": "Conv2d", "dtype": "int8", "layers": 1, "multiply_accumulates": 10, "time_s": 1.0}
    rows = [{"component": "unet", "graph": graph, **fields, "calls": 1} for graph in ("main", "unquantized")]
    rows += [{"component": "vae", "graph": "main", **fields, "calls": 1}]
    called = turns.with_calls(rows, {"unet": 5, "vae": 1}, ("none", "int8", "none"))
    assert [row["calls"] for row in called] == [3, 2, 1]
    short = turns.with_calls(rows, {"unet": 1, "vae": 1}, ("none", "int8", "none"))
    assert [row["calls"] for row in short] == [0, 1, 1]


def test_a_runtime_that_does_not_tell_what_it_executes_is_not_passed_over(project: Path, monkeypatch) -> None:
    """Protects the accounting from a component that nobody counted."""
    import torch

    threads = torch.get_num_threads()
    try:
        worker, _ = timed_model.load(task(arguments={"num_inference_steps": 1}), SamplingMeter())
        checker = worker.pipeline.safety_checker
        monkeypatch.setattr(checker, "forward", lambda clip_input, images: (images, [False]))
        with pytest.raises(ValueError, match="no multiplication was seen in safety_checker"):
            worker.executed()
    finally:
        torch.set_num_threads(threads)


def test_a_simulated_variant_starts_no_process(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects promise one: a simulated format never shows a speed."""
    monkeypatch.setattr(benchmark, "TimingProcess", None)
    monkeypatch.setattr(sys, "argv", [*COMMAND, "int8-simulated"])
    benchmark.main()
    timing = json.loads((project / "reports/tiny/timing/out.json").read_text(encoding="utf-8"))
    assert timing["measured"] is False and timing["calls"] == [] and timing["reason"] == "simulated"
    assert not {"latency_s", "speedup", "run_peak_mib"} & set(timing)


def test_an_unknown_benchmark_prompt_lists_the_known_ones(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from a KeyError in the middle of a measurement."""
    only = load_prompts(project / "data/prompts.csv", None)[:1]
    monkeypatch.setattr("stages.lib.project.prompts.load_prompts", lambda *_: only)
    monkeypatch.setattr(sys, "argv", [*COMMAND, "bf16"])
    with pytest.raises(UserError, match="'benchmark.prompt' has the value 'animal'.*use one of landscape"):
        benchmark.main()


def test_a_mistake_in_the_timing_process_arrives_with_its_message(project: Path) -> None:
    """Protects the user from 'exit code 1' where the process knows what is wrong."""
    with (
        pytest.raises(UserError, match="there is no variant 'nope'"),
        TimingProcess(task(variant="nope")) as process,
    ):
        process.wait()


def test_instrumented_calls_add_up_and_leave_no_clock_behind(project: Path) -> None:
    """Protects the split: nothing is counted twice (the rest is above zero), and later calls run as before."""
    import torch

    threads = torch.get_num_threads()
    try:
        worker, loaded = timed_model.load(task(), SamplingMeter())
        classes = type(worker.pipeline.unet), type(worker.pipeline.vae)
        times_s = worker.components()["times_s"]
    finally:
        torch.set_num_threads(threads)
    assert loaded["load_peak_mib"] > 50
    assert {name: len(samples) for name, samples in times_s.items()} == {
        "text_encoder": 2,
        "unet": STEPS + 1,
        "vae": 1,
        "safety_checker": 1,
        "other": 1,
    }
    assert all(sample > 0 for samples in times_s.values() for sample in samples)
    assert (type(worker.pipeline.unet), type(worker.pipeline.vae)) == classes
    assert "step" not in vars(worker.pipeline.scheduler)


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")  # diffusers casts the NaN
def test_weights_that_give_no_number_have_no_timing(project: Path) -> None:
    """Protects against the speed of arithmetic on NaN."""
    import torch

    threads = torch.get_num_threads()
    try:
        worker, _ = timed_model.load(task(), SamplingMeter())
        worker.pipeline.vae.decoder.conv_out.bias.data.fill_(float("nan"))
        with pytest.raises(UserError, match="'fp32' gives NaN.*'A cat'.*compute: float32"):
            worker.call()
    finally:
        torch.set_num_threads(threads)


def test_a_process_that_dies_is_told_with_its_signal(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from waiting for ever, and from a bare BrokenPipeError, when memory runs out."""
    start = subprocess.Popen

    def start_and_kill(*arguments, **options) -> subprocess.Popen:
        process = start(*arguments, **options)
        process.kill()
        return process

    monkeypatch.setattr(subprocess, "Popen", start_and_kill)
    with pytest.raises(UserError, match="variant 'fp32' was killed by signal 9"), TimingProcess(task()) as process:
        process.wait()


def test_time_and_memory_of_a_batch_are_those_of_an_image_and_of_the_whole() -> None:
    """Protects from the time of a batch taken for that of an image, and from a first call that is not like the rest."""
    answers = iter([(90.0, 10.0), (8.0, 20.0), (4.0, 30.0), (6.0, 20.0)])

    class Process:
        def ask(self, action: str, size: int) -> dict[str, float]:
            assert (action, size) == ("batch", 4)
            return dict(zip(("latency_s", "peak_mib"), next(answers), strict=True))

    batch = turns.batch_times(Process(), 4, 3)
    assert batch["latency_per_image_s"]["samples"] == [2.0, 1.0, 1.5] and batch["run_peak_mib"] == 30.0


def test_a_process_that_fails_is_told_with_its_last_line(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the cause of an error that nobody foresaw: here a task without a single field."""
    monkeypatch.setattr(Task, "as_line", lambda _: "{}")
    with (
        pytest.raises(UserError, match="ended with exit code 1: TypeError: .*missing"),
        TimingProcess(task()) as process,
    ):
        process.wait()


def test_a_restart_is_another_process_with_a_model_of_its_own(project: Path) -> None:
    """Protects the samples: what a restart leaves behind, the next one does not find."""
    with TimingProcess(task()) as process:
        process.wait()
        peaks = []
        for fork in (True, False, True):
            process.begin_load(fork)
            peaks.append(process.loaded()["load_peak_mib"])
            assert process.ask("call")["latency_s"] > 0
            process.end()
    assert peaks[0] == pytest.approx(peaks[2], rel=0.1) and peaks[1] > process.libraries_mib > 50


def test_a_process_ends_when_its_parent_is_gone(project: Path) -> None:
    """Protects the machine: the restart, too, ends while it still loads, with no answer, once its input is closed."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "stages.lib.timing.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    output, _ = worker.communicate(f'{task().as_line()}\n{{"do": "load", "fork": true}}\n'.encode(), timeout=HANGING_S)
    assert worker.returncode == 1 and output.count(b"\n") == 1


def test_a_long_image_is_cut_short_and_extrapolated(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects from hours on a CPU, and from a guess that looks measured: it is marked, and follows from its parts."""
    text = Path("params.yaml").read_text(encoding="utf-8")
    changed = text.replace("longest_image_s: 60", "longest_image_s: 0.00001").replace("steps: 3", "steps: 40")
    Path("params.yaml").write_text(changed, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [*COMMAND, "bf16"])
    try:
        benchmark.main()
    finally:
        Path("params.yaml").write_text(text, encoding="utf-8")
    timing = json.loads((project / "reports/tiny/timing/out.json").read_text(encoding="utf-8"))
    assert timing["extrapolated"] is True and timing["baseline_extrapolated"] is True
    assert (timing["denoiser_steps"], timing["denoiser_steps_made"]) == (41, 3)
    components = {row["component"]: row for row in timing["components"]}
    assert (components["unet"]["n"], components["unet"]["calls_per_image"]) == (3, 41)


def test_an_extrapolated_time_is_that_of_a_whole_image(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Protects the extrapolation, on a clock that stands still but for a step of 2 s and a decoding of 5 s.

    The first step takes 9 s more, once; it is counted once, and not for the steps that were left out.
    """
    import torch

    seconds, threads = [0.0], torch.get_num_threads()
    monkeypatch.setattr(timed_model.TimedModel, "_now_s", lambda _: seconds[0])

    def lasting(method, duration_s: float):
        def call(*arguments, **options):
            seconds[0] += duration_s
            return method(*arguments, **options)

        return call

    many = {"num_inference_steps": 20, "guidance_scale": 7.5}

    def first_call(longest_image_s: float) -> dict:
        worker, _ = timed_model.load(task(arguments=many, longest_image_s=longest_image_s), SamplingMeter())
        unet, begin = lasting(worker.pipeline.unet.forward, 2.0), []

        def forward(*arguments, **options):
            seconds[0] += 0 if begin else 9.0
            begin.append(True)
            return unet(*arguments, **options)

        worker.pipeline.unet.forward = forward
        worker.pipeline.vae.decode = lasting(worker.pipeline.vae.decode, 5.0)
        return worker.call()

    try:
        whole, cut = first_call(42.0), first_call(41.9)
    finally:
        torch.set_num_threads(threads)
    assert (whole["denoiser_steps_made"], whole["latency_s"]) == (21, 9 + 21 * 2 + 5)
    assert (cut["denoiser_steps_made"], cut["measured_s"]) == (3, 9 + 3 * 2 + 5)
    assert cut["latency_s"] == whole["latency_s"]
