"""A model's files reach libraries that take them for sound; what comes of others is one message."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.project.errors import UserError, first_line, limit_reached

MOST_LAYERS = 10_000  # several times those of the largest networks that are published


@contextmanager
def sensible(folder: Path, kind: type) -> Iterator[None]:
    """Whatever a library says of files that make no sense is one UserError."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except ImportError as error:  # it needs a package, and says which
        raise UserError(f"{folder}: {first_line(error)}") from None
    except Exception as error:  # a configuration can cause any, and of tokenizers' own there is no narrower class
        if limit_reached(error):
            raise
        raise UserError(
            f"{folder} is no sound {kind.__name__} ({type(error).__name__}: {first_line(error)[:200]}): bring the "
            "model again, or choose another"
        ) from None


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
