"""What a variant with a tuning is made of: the base model with those changes of its weights."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stages.lib.formats.shared.availability import CannotMake
from stages.lib.models.tuning import DoesNotFit, fuse_tuning, read_tuning
from stages.lib.project.variant import Variant


@contextmanager
def tuned_base(base: Path, variant: Variant) -> Iterator[Path]:
    """`base`, or until the block ends a folder like it with the tuning fused.

    A file that is missing or not the one that was meant is a UserError, one that was learned for another model is
    CannotMake.
    """
    if variant.tuning is None:
        yield base
        return
    tensors = read_tuning(variant.tuning, f"variants.{variant.name}.tuning")
    with tempfile.TemporaryDirectory() as folder:
        try:
            fuse_tuning(base, tensors, Path(folder))
        except DoesNotFit as error:
            raise CannotMake({"reason": "tuned_for_another", "parameter": error.parameter}) from None
        yield Path(folder)
