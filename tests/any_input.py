"""Generated input for parsers, and what must hold of each: an answer or one message, in little memory."""

import json
import random
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st

from stages.lib.project.errors import LONGEST_MESSAGE, UserError

MOST_MIB = 200
MOST_S = 2  # of computing: the machine may be busy otherwise
HARD = [
    *[None, True, False, 0, -1, 10**6, 10**18, 2**63, -(2**63), 10**39, 10**41, 0.0, -0.0, 1e-320, 1e308],
    *[float("inf"), float("nan"), "", " ", "\0", "\ud800", "\u202e", "a" * 300, "é" * 1000, "../..", "/", "C:\\x"],
    *["con", "nul.txt", "auto", "[", "{{ x }}", "${x}", "%s%n", "<b>", "=1+1", [], {}, [[]], [{}], {"": {}}, [None]],
]
values = st.recursive(
    st.one_of(st.sampled_from(HARD), st.integers(), st.floats(), st.text(max_size=50)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=20), inner, max_size=4)),
    max_leaves=8,
)


@contextmanager
def within_limits() -> Iterator[None]:
    """It takes less than MOST_S, and this process's peak grows by less than MOST_MIB."""
    before, begin_s = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    yield
    assert time.process_time() - begin_s < MOST_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MOST_MIB * 1024


def one_message(read: Callable[[], Any]) -> None:
    """`read` gives something or a UserError that can be printed; anything else is a failure."""
    try:
        read()
    except UserError as error:
        assert str(error).encode("utf-8") and len(str(error)) <= LONGEST_MESSAGE


@st.composite
def edited(draw: st.DrawFn, document: Any) -> Any:
    """A copy of a document of dictionaries and lists, with up to three of its values, keys or items changed."""
    document = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        chosen = random.Random(draw(st.integers(0, 2**32)))
        holder = document
        while isinstance(holder, dict | list) and holder:
            key = chosen.choice(list(holder) if isinstance(holder, dict) else range(len(holder)))
            if chosen.random() < 0.4 or not isinstance(holder[key], dict | list) or not holder[key]:
                kind = draw(st.sampled_from(["value", "value", "value", "new", "gone"]))
                if kind == "value":
                    holder[key] = draw(values)
                elif kind == "gone":
                    del holder[key]
                elif isinstance(holder, dict):
                    holder[draw(st.text(max_size=20))] = draw(values)
                else:
                    holder.append(draw(values))
                break
            holder = holder[key]
    return document


@st.composite
def spliced(draw: st.DrawFn, data: bytes) -> bytes:
    """`data` with a piece cut out and other bytes put there, once or several thousand times."""
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, min(len(data), begin + 40)))
    pieces = st.sampled_from(
        [b"[", b"{a: ", b"- ", b"? ", b"&a *a ", b"9", b'"', b"\n", b"\t", b",", b"\\u", b"!!int "]
    )
    piece = draw(
        st.one_of(
            pieces, st.binary(max_size=8), st.text(max_size=8).map(lambda text: text.encode("utf-8", "surrogatepass"))
        )
    )
    return data[:begin] + piece * draw(st.sampled_from([1, 1, 1, 2, 5000])) + data[end:]
