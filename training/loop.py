"""The one optimisation loop of all trainings: schedule, average, log, checkpoint, stop in time, go on later.

Random numbers are a pure function of (seed, step), and so is the learning rate; a run that was stopped and continued
draws the same batches as one that was not. Where the time is fixed and the speed of the machine is not known,
`--anneal` makes the schedule a function of the time spent instead; the steps that it took are in the log and in
the weights' metadata, for the parameters file.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from stages.lib.project.errors import UserError
from training.checkpoint import copy_weights, load_checkpoint, load_weights, save_checkpoint, save_weights
from training.settings import Fit

LOG_EVERY_STEPS = 50
CHECKPOINT_EVERY_S = 120.0
FINAL_LEARNING_RATE_SHARE = 0.005


@dataclass(frozen=True)
class Run:
    """Where a training works and until when (`time.monotonic`): `stem` names its weights files.

    With `anneal` the schedule ends at the deadline, whatever the number of steps.
    """

    stem: str
    work: Path
    device: torch.device
    seed: int
    deadline_s: float | None
    export: Path | None
    init: Path | None
    anneal: bool = False

    @property
    def final(self) -> Path:
        return self.work / "weights"


# (share of the schedule that is over, generator) to (loss, scalars to log).
Loss = Callable[[float, torch.Generator], tuple[torch.Tensor, dict[str, torch.Tensor]]]


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The command line that all trainings share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--params", type=Path, default=Path("training/params.yaml"))
    parser.add_argument("--work", type=Path, default=Path("training/work"), help="drawings, checkpoints, weights")
    parser.add_argument("--device", default="cuda", help="cuda or cpu")
    parser.add_argument("--time-limit", type=float, default=None, metavar="SECONDS", help="stop and checkpoint")
    parser.add_argument("--anneal", action="store_true", help="end the schedule at the time limit, not at `steps`")
    parser.add_argument("--export", type=Path, default=None, help="folder that gets a copy of weights and log")
    parser.add_argument("--init", type=Path, default=None, help="folder of exported weights to start from")
    return parser


def run_of(stem: str, options: argparse.Namespace, seed: int) -> Run:
    """The Run of a parsed command line; sets the matrix precision of a CUDA device."""
    device = chosen_device(options.device)
    if options.anneal and options.time_limit is None:
        raise UserError("--anneal: give a --time-limit too")
    deadline_s = None if options.time_limit is None else time.monotonic() + options.time_limit
    return Run(stem, options.work, device, seed, deadline_s, options.export, options.init, options.anneal)


def chosen_device(name: str) -> torch.device:
    """`cuda` or `cpu`; asking for CUDA where there is none is a UserError."""
    if name not in ("cuda", "cpu"):
        raise UserError(f"--device {name}: give cuda or cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: no CUDA device is visible; give --device cpu")
    if name == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark = True
    return torch.device(name)


def half_precision(device: torch.device, enabled: bool) -> torch.autocast:
    """bfloat16 autocast where `enabled`."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def convolution_layout(device: torch.device) -> torch.memory_format:
    """The memory format in which convolutions train fastest: measured, channels last on a GPU, not on a CPU."""
    return torch.channels_last if device.type == "cuda" else torch.contiguous_format


def learning_rate_share(step: int, progress: float, warmup_steps: int) -> float:
    """Share of the peak learning rate at 0-based `step`: linear warm-up times a cosine, never below its floor.

    `progress`: share of the schedule that is over, 0..1.
    """
    warm = min(1.0, (step + 1) / max(1, warmup_steps))
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return warm * (FINAL_LEARNING_RATE_SHARE + (1 - FINAL_LEARNING_RATE_SHARE) * cosine)


def fit(module: torch.nn.Module, loss_at: Loss, settings: Fit, run: Run) -> tuple[torch.nn.Module, int]:
    """Train `module` in place to the end of its schedule or the deadline; returns (averaged copy, steps done).

    `run.init` is read only where no checkpoint exists. Raises UserError when the loss is no longer finite.
    """
    if run.init is not None:
        module.load_state_dict(load_weights(run.init, run.stem)[0])
    average = copy.deepcopy(module).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        [value for value in module.parameters() if value.requires_grad],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.99),
        fused=run.device.type == "cuda",
    )
    checkpoint, log_path = run.work / f"{run.stem}-checkpoint", run.work / f"{run.stem}-log.jsonl"
    step, earlier_s = load_checkpoint(checkpoint, module, average, optimizer)
    if step == 0:
        log_path.unlink(missing_ok=True)
    generator = torch.Generator(run.device)
    saved = logged = time.monotonic()
    logged_step = step
    started = None

    def progress() -> float:
        if not run.anneal or run.deadline_s is None:
            return step / settings.steps
        now = time.monotonic()
        spent = earlier_s + now - (started or now)
        return spent / max(spent, spent + run.deadline_s - now, 1e-9)

    with log_path.open("a", encoding="utf-8") as log:
        while progress() < 1:
            now = time.monotonic()
            if run.deadline_s is not None and now > run.deadline_s:
                break
            if now - saved > CHECKPOINT_EVERY_S:
                save_checkpoint(checkpoint, module, average, optimizer, step, earlier_s + now - (started or now))
                saved = time.monotonic()
            generator.manual_seed(run.seed * 1_000_003 + step)
            loss, scalars = _update(module, average, optimizer, loss_at, settings, step, progress(), generator)
            step += 1
            if started is None:
                loss.item()
                started = logged = time.monotonic()
                logged_step = step
                print(f"{run.stem}: first step, with compiling, {started - now:.1f} s", flush=True)
            elif step % LOG_EVERY_STEPS == 0 or step == settings.steps:
                line = {
                    "step": step,
                    "loss": loss.item(),
                    **{key: value.item() for key, value in scalars.items()},
                }
                if not math.isfinite(line["loss"]):
                    raise UserError(f"{run.stem}: the loss is {line['loss']} at step {step}: lower learning_rate")
                now = time.monotonic()
                line["steps_per_s"] = (step - logged_step) / (now - logged)
                line["elapsed_s"] = earlier_s + now - started
                logged, logged_step = now, step
                log.write(json.dumps({key: float(f"{value:.5g}") for key, value in line.items()}) + "\n")
                log.flush()
                if step % (4 * LOG_EVERY_STEPS) == 0 or step == settings.steps:
                    print(run.stem, " ".join(f"{key} {value:.4g}" for key, value in line.items()), flush=True)
        whole = progress() >= 1
    now = time.monotonic()
    spent_s = earlier_s + now - (started or now)
    save_checkpoint(checkpoint, module, average, optimizer, step, spent_s)
    print(f"{run.stem}: {step} steps done in {spent_s:.0f} s, the {'whole' if whole else 'unfinished'} schedule")
    return average, step


def finish(run: Run, average: torch.nn.Module, step: int, steps: int, metadata: dict[str, str]) -> None:
    """Write the averaged weights with `metadata` and the step; copy them to the export folder if there is one."""
    save_weights(run.final, run.stem, average.state_dict(), {**metadata, "step": str(step), "steps": str(steps)})
    if run.export is not None:
        copy_weights(run.final, run.stem, run.work / f"{run.stem}-log.jsonl", run.export)


def _update(
    module: torch.nn.Module,
    average: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_at: Loss,
    settings: Fit,
    step: int,
    progress: float,
    generator: torch.Generator,
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    share = learning_rate_share(step, progress, settings.warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * share
    loss, scalars = loss_at(progress, generator)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
    optimizer.step()
    # A young average forgets its random start faster than an old one: k / (k + 9) up to the decay asked for.
    decay = min(settings.ema_decay, (step + 1) / (step + 10))
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    return loss.detach(), {key: value.detach() for key, value in scalars.items()}
