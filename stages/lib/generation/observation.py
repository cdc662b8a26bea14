"""What is seen from outside while one image is generated: how the denoiser is called, and what is read of the prompt.

Nothing here knows one pipeline from another. A tokenizer that is told to cut a text off is asked how long it is, and
how much of the prompt fits.
"""

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from stages.lib.models.families import CUT_AFTER_READING, GUIDANCE_INPUTS
from stages.lib.models.watch import around_calls, around_steps, networks_of, set_doors

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline


@dataclass
class Observation:
    """One image: `steps` of the scheduler, `calls` of denoisers, and `predictions`, the rows of all these calls.

    `guided_inside`: a denoiser is given the guidance scale. `latents`: the shape that the decoder is given. `cuts`: per
    tokenizer whose tokens of the prompt were cut, all of its `tokens` and how many were left, `limit`; `reads`: what
    was left.
    """

    steps: int = 0
    calls: int = 0
    predictions: int = 0
    guided_inside: bool = False
    latents: tuple[int, ...] = ()
    cuts: dict[str, dict[str, int]] = field(default_factory=dict)
    reads: dict[str, str] = field(default_factory=dict)

    def denoising(self) -> dict[str, Any]:
        """How the denoiser was called, for JSON."""
        names = ("steps", "calls", "predictions", "guided_inside")
        return {name: getattr(self, name) for name in names} | {"latents": list(self.latents)}

    def reading(self) -> dict[str, Any]:
        """Each cut, and `read`, what the tokenizer that left most left of the prompt; empty if nothing was cut."""
        cuts = [{"tokenizer": name, **cut, "read": self.reads[name]} for name, cut in sorted(self.cuts.items())]
        return {"cuts": cuts, "read": max(self.reads.values(), key=len)} if cuts else {}


@contextmanager
def observing(
    pipeline: "DiffusionPipeline", denoisers: Sequence[str], prompt: str, arguments: Mapping[str, Any]
) -> Iterator[Observation]:
    """Look at what `pipeline`, called with `arguments`, does for `prompt` until the block ends."""
    seen, later = Observation(), cut_after_reading(pipeline, arguments)

    def call(name: str, entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        batched = [
            item for item in (*args, *options.values()) if isinstance(item, list) or getattr(item, "ndim", 0) > 2
        ]
        if name in denoisers:
            seen.calls += 1
            seen.predictions += len(batched[0]) if batched else 1
            seen.guided_inside |= any(options.get(key) is not None for key in GUIDANCE_INPUTS)
        elif not seen.latents and batched:
            seen.latents = tuple(batched[0].shape)
        return inner(*args, **options)

    def step(*_: Any) -> None:
        seen.steps += 1

    networks = networks_of(pipeline)
    watched = {name: network for name, network in networks.items() if name in denoisers or hasattr(network, "decode")}
    with ExitStack() as stack:
        for name, tokenizer in tokenizers_of(pipeline).items():
            stack.enter_context(_watched(tokenizer, partial(_look, seen, name, tokenizer, prompt, later)))
        stack.enter_context(around_calls(watched, call))
        stack.enter_context(around_steps(pipeline, step))
        yield seen


def tokenizers_of(pipeline: "DiffusionPipeline") -> dict[str, Any]:
    """The tokenizers of a pipeline, also those inside processors, by the names of their components."""
    parts = {name: vars(pipeline).get(name) for name in pipeline.config}
    found = {name: getattr(part, "tokenizer", part) for name, part in parts.items()}
    return {name: part for name, part in found.items() if callable(part) and hasattr(part, "model_max_length")}


def cut_after_reading(pipeline: "DiffusionPipeline", arguments: Mapping[str, Any]) -> tuple[int, float]:
    """How many of a prompt's first tokens a pipeline drops once they are read, and how many of the others it keeps."""
    kind = type(pipeline)
    if kind.__name__ not in CUT_AFTER_READING:
        return 0, math.inf
    dropped, kept = CUT_AFTER_READING[kind.__name__]
    return getattr(pipeline, dropped), arguments.get(kept, inspect.signature(kind.__call__).parameters[kept].default)


@contextmanager
def _watched(tokenizer: Any, look: Callable[[Callable, tuple, dict], None]) -> Iterator[None]:
    def through(entry: str, inner: Callable, args: tuple, options: dict) -> Any:
        if entry == "forward":
            look(inner, args, options)
        return inner(*args, **options)

    kind = set_doors(tokenizer, through)
    try:
        yield
    finally:
        tokenizer.__class__ = kind


def _look(
    seen: Observation,
    name: str,
    tokenizer: Any,
    prompt: str,
    later: tuple[int, float],
    inner: Callable,
    args: tuple,
    options: dict,
) -> None:
    """Note in `seen` what a call of a tokenizer, and `later`, leave of `prompt`, which a template may surround."""
    texts = args[0] if args else options.get("text")
    for text in [texts] if isinstance(texts, str) else texts or ():
        at = text.casefold().find(prompt.casefold()) if isinstance(text, str) else 0
        if not isinstance(text, str) or (at < 0 and max(prompt.split(), key=len).casefold() not in text.casefold()):
            continue  # no words, or those of another prompt
        before, words = (text[:at], prompt) if at >= 0 else ("", text)  # else one that the pipeline has cleaned
        if not options.get("truncation"):
            seen.reads.setdefault(name, words)
            continue
        plain = {"truncation": False, "padding": False, "verbose": False}
        plain |= {key: options[key] for key in ("add_special_tokens",) if key in options}

        def length(count: int, before: str = before, words: str = words, plain: dict = plain) -> int:
            return len(inner(before + words[:count], **plain).input_ids)

        dropped, kept = later
        limit, tokens = options.get("max_length") or tokenizer.model_max_length, length(len(words))
        limit = min(limit, dropped + kept)
        fits = len(words) if tokens <= limit else max(0, bisect_right(range(len(words) + 1), limit, key=length) - 1)
        seen.reads[name] = whole_words(words, fits)
        if tokens > limit:
            seen.cuts[name] = {"tokens": tokens - dropped, "limit": limit - dropped}


def whole_words(text: str, count: int) -> str:
    """The first `count` characters of `text`, without the beginning of a word that goes on; one alone is kept."""
    head = text[:count]
    ends = not text[count : count + 1].strip()
    return head.rstrip() if ends else head.rpartition(" ")[0].rstrip() or head
