"""A model's files reach libraries that take them for sound; what comes of others is one message."""

import inspect
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.project.errors import UserError, first_line, limit_reached, reason_of

MOST_LAYERS = 10_000  # several times those of the largest networks that are published


@contextmanager
def sensible(folder: Path, kind: type) -> Iterator[None]:
    """Whatever a library says of files that make no sense is one UserError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:  # a configuration can cause any, and of tokenizers' own there is no narrower class
        if limit_reached(error):
            raise
        if needed := package_needed(error, kind):
            raise needed from None
        if isinstance(error, ImportError):  # it needs a package, and says which
            raise UserError(f"{folder}: {first_line(error).partition('. ')[0]}: install it") from None
        raise UserError(
            f"{folder} is no sound {kind.__name__} ({type(error).__name__}: {reason_of(error)}): bring the "
            "model again, or choose another"
        ) from None


def package_needed(error: Exception, kind: type) -> UserError | None:
    """What to raise where the module of a class uses a package that is not here: it leaves out imports of such."""
    source, name = inspect.getsource(inspect.getmodule(kind)), getattr(error, "name", None) or ""
    plain = name and re.search(rf"^\s+import {re.escape(name)}$", source, re.MULTILINE)
    inside = re.search(rf"is_(\w+)_available\(\):\n\s+from \S+ import {re.escape(name)}\n", source)
    package = name if plain or isinstance(error, ImportError) else inside and inside[1]
    if not package:
        return None
    return UserError(f"a {kind.__name__} needs the package '{package}', which is not installed: pip install {package}")


@contextmanager
def few_layers(folder: Path) -> Iterator[None]:
    """A network of more layers than any has is a UserError, before it fills the memory."""
    from torch.nn.modules.module import register_module_module_registration_hook

    count = itertools.count(1)

    def see(*_: object) -> None:
        if next(count) > MOST_LAYERS:
            raise UserError(f"{folder / 'config.json'} describes more than {MOST_LAYERS} layers: bring the model again")

    hook = register_module_module_registration_hook(see)
    try:
        yield
    finally:
        hook.remove()
