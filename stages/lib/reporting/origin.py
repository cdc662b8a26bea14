"""Which commit a report is of, and its date: never the clock's."""

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime

from stages.lib.project.errors import UserError
from stages.lib.project.files import git

# A commit of anything else, such as the README or a test, changes nothing that the report says.
MEASURED_WITH = ("params.yaml", "dvc.yaml", "requirements.txt", "stages", "data")
EARLIEST = 315532800  # 1980-01-01, the date of a report that has neither commit nor SOURCE_DATE_EPOCH


@dataclass(frozen=True)
class Origin:
    """Where the report comes from. `commit` is None outside a Git checkout; `epoch` is in seconds."""

    commit: str | None
    modified: bool
    epoch: int

    @property
    def date(self) -> str:
        """The date in UTC, year-month-day."""
        return self.day.isoformat()

    @property
    def day(self) -> date:
        """The same for people, who are shown it in the form of their language."""
        return datetime.fromtimestamp(self.epoch, UTC).date()

    @property
    def dated(self) -> bool:
        """Whether `epoch` means anything."""
        return self.epoch != EARLIEST


def find_origin(top: str = ".") -> Origin:
    """The last commit that changed what the report is made with, and whether that differs from it now.

    `top` is the project's folder, as seen from the working one.
    """
    sources = ("--", *(f"{top}/{path}" for path in MEASURED_WITH))
    last = git("log", "-1", "--format=%H %ct", *sources)
    epoch = chosen_epoch()
    if not last:
        return Origin(None, False, EARLIEST if epoch is None else epoch)
    commit, committed = last.split()
    modified = bool(git("status", "--porcelain", "--untracked-files=no", *sources))
    return Origin(commit, modified, int(committed) if epoch is None else epoch)


def chosen_epoch() -> int | None:
    """SOURCE_DATE_EPOCH, in seconds; None where it is not set. What is no such number is a UserError."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is not None and not re.fullmatch(r"[0-9]{1,11}", epoch):
        raise UserError(f"SOURCE_DATE_EPOCH has the value '{epoch}': use a whole number of seconds since 1970")
    return None if epoch is None else int(epoch)
