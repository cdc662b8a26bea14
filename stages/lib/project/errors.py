"""A user's mistake, or a limit of the machine, is one clear message and a non-zero exit, never a traceback."""

import gc
import logging
import os
import re
import sys
from collections.abc import Callable

# What the system, Python and libraries in other languages say when a machine has come to a limit, and the remedy.
# Everything is written whole or not at all, so that nothing needs to be put right.
LIMITS = {
    r"No space left|Disk quota exceeded|disk is full|os error 28\b": (
        "the disk is full: free space where the project and its .dvc/cache lie, and in the temporary folder (TMPDIR)"
    ),
    r"File too large|os error 27\b": "this system allows no file of that size: raise the limit (`ulimit -f`)",
    r"Read-only file system|Permission denied|Operation not permitted|readonly database|unable to open database": (
        "the project must lie in a folder that you may write to, and all in it be yours: copy it there"
    ),
    r"MemoryError|[Cc]annot allocate|can't allocate|not enough memory|out of memory|failed to map segment|bad_alloc": (
        "there is too little memory: close other programs, raise the limit (`ulimit -v`, or the container's), choose a "
        "smaller model, or set OMP_NUM_THREADS=1, which makes it one process"
    ),
    r"Too many open files": "raise the limit of open files (`ulimit -n`)",
    r"can't start new thread|Resource temporarily unavailable": "raise the limit of processes (`ulimit -u`)",
}

# What libraries log at import that tells a user of this project nothing, by the name of the logger.
NO_NEWS = {
    # It takes its Pillow image processors, which is what this project wants.
    "transformers.utils.import_utils": "requires torchvision",
    # Kernels for formats that nothing here uses, on newer GPUs; a PyTorch without CUDA cannot load them.
    "torchao": r"Failed to load \S*_C_(mxfp8|cutlass_90a)\.",
    "torch.utils._pytree": "(KernelPreference|ScaleCalculationMode).* is an Enum subclass",
    # It looks for kernels on the Hub, which this project does not fetch; and says what LLM.int8 is, at each call.
    "bitsandbytes.backends.cpu.ops": "Failed to load CPU gemm_4bit_forward",
    "bitsandbytes.autograd._functions": "MatMul8bitLt: inputs will be cast",
    # It is told to use none (stages/lib/formats/sdnq/layers.py).
    "sdnq": "requires a working Triton install",
    # The error that DVC then ends with says it.
    "dvc_data.hashfile.transfer": "failed to transfer",
    # diffusers looks for names of older versions of torchao; it reads no checkpoint of torchao's here.
    "diffusers.quantizers.torchao.torchao_quantizer": "Unable to import `torchao` Tensor objects",
}


# A longer message quotes something endless, such as a class name of 25,000 characters; its middle is left out.
LONGEST_MESSAGE, LAST_SHOWN = 3000, 1000
LONGEST_REASON = 200  # of a library's message within one of ours


class UserError(Exception):
    """Something the user can mend. The message names the file, the key, the value and the remedy."""

    def __str__(self) -> str:
        text = super().__str__()
        if len(text) <= LONGEST_MESSAGE:
            return text
        return f"{text[: LONGEST_MESSAGE - LAST_SHOWN - 5]} ... {text[-LAST_SHOWN:]}"


def run_stage(main: Callable[[], None]) -> None:
    """Run a stage's `main`; print a UserError, or a limit of the machine, as one message and exit with 1."""
    if sys.flags.optimize > 1:
        sys.exit("error: `python -OO` (PYTHONOPTIMIZE=2) takes away texts that libraries read: run Python without it")
    try:
        main()
        gc.freeze()  # or what was imported is looked through for garbage when the process ends: more than a second
    except UserError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("interrupted")
    except Exception as error:
        if not (remedy := limit_reached(error)):
            raise
        print(f"error: {remedy}. ({first_line(error)})", file=sys.stderr, flush=True)
        os._exit(1)  # without memory or disk, what libraries do at the end fails in its turn


def limit_reached(error: BaseException | None) -> str:
    """The remedy in LIMITS for an error or what caused it; empty where it is another kind of error."""
    while error is not None:
        said = f"{type(error).__name__}: {error}"
        for pattern, remedy in LIMITS.items():
            if re.search(pattern, said):
                return remedy
        error = error.__cause__ or error.__context__
    return ""


def first_line(error: BaseException) -> str:
    """What an error says, without what follows in lines of its own."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def reason_of(error: BaseException) -> str:
    """The first line of an error, cut between two words where it is long."""
    said = first_line(error)
    cut = said[:LONGEST_REASON]
    return said if cut == said else f"{cut.rpartition(' ')[0] or cut} …"


def hide_no_news() -> None:
    """Keep back the messages of NO_NEWS: every process of this project does, before it imports those libraries."""
    for logger, pattern in NO_NEWS.items():
        logging.getLogger(logger).addFilter(_Without(pattern))


class _Without(logging.Filter):
    """Drops messages that contain a match of a regular expression."""

    def __init__(self, pattern: str) -> None:
        super().__init__()
        self.pattern = pattern

    def filter(self, record: logging.LogRecord) -> bool:
        return not re.search(self.pattern, record.getMessage())
