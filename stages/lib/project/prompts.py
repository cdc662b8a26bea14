"""The prompts file: which images are generated, each with its seed."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

from stages.lib.project.documents import UNWRITABLE, read_at_most, text_fault
from stages.lib.project.errors import UserError
from stages.lib.project.params import PARAMS_FILE, Params
from stages.lib.project.sections import safe_name

COLUMNS = ("id", "prompt", "kind", "complexity", "seed", "set")
SEED_LIMIT = 2**63
MOST_BYTES = 2**23  # a row of commas alone takes ten times its size in memory
NAMED = f"in {PARAMS_FILE}, key 'prompts.file'"  # a prompts file
MOST_ROWS = 100_000  # each is an image to generate
MOST_NAMED = 40  # ids in a message
MOST_CHARACTERS = 2_000  # no text encoder reads so many
Item = TypeVar("Item")


@dataclass(frozen=True)
class Prompt:
    """One row: the image `id`.png is generated from the text `prompt` and the noise of `seed`."""

    id: str
    prompt: str
    kind: str
    complexity: str
    seed: int
    set: str


def load_prompts(path: Path, sets: tuple[str, ...] | None, named: str = NAMED) -> list[Prompt]:
    """The rows of `path` that belong to `sets` (None: all of them), in the order of the file.

    The whole file is checked, also the rows that are not asked for. A UserError names file, line, column, value
    and remedy; `named` says where the user has named the file.
    """
    prompts: dict[str, Prompt] = {}
    images: dict[tuple[str, int], int] = {}  # the line of each
    for line, row in _rows(path, named):
        prompt = _prompt(path, line, row)
        # Two ids that differ in case alone are one file where the file system ignores case.
        if prompt.id.casefold() in prompts:
            raise UserError(
                f"{path}, line {line}: id '{prompt.id}' stands there twice (upper and lower case count as the same): "
                "give every row an id of its own"
            )
        prompts[prompt.id.casefold()] = prompt
        first = images.setdefault((same_text(prompt.prompt), prompt.seed), line)
        if first != line:
            raise UserError(
                f"{path}, line {line}: prompt and seed are those of line {first}, '{prompt.prompt}' and {prompt.seed}: "
                "the same image twice makes intervals too narrow, so give one of them another seed or delete it"
            )
    if not prompts:
        raise UserError(f"{path} has no prompts: add rows with the columns {', '.join(COLUMNS)}")
    known = list(dict.fromkeys(prompt.set for prompt in prompts.values()))
    for name in sets or ():
        if name not in known:
            raise UserError(
                f"{PARAMS_FILE}: 'prompts.sets' names '{name}', which no row of {path} belongs to: "
                f"use some of {', '.join(known)}"
            )
    return [prompt for prompt in prompts.values() if sets is None or prompt.set in sets]


def same_text(prompt: str) -> str:
    """What two prompts have in common that differ in case and blanks alone."""
    return " ".join(prompt.casefold().split())


def timed_prompt(params: Params) -> Prompt:
    """The prompt that is generated again and again; it must be one of those that have noise."""
    prompts = load_prompts(Path(params.prompts.file), params.prompts.sets)
    for prompt in prompts:
        if prompt.id == params.benchmark.prompt:
            return prompt
    raise UserError(
        f"{PARAMS_FILE}: 'benchmark.prompt' has the value '{params.benchmark.prompt}', which is no id in the sets "
        f"{', '.join(params.prompts.sets)} of {params.prompts.file}: use one of "
        f"{', '.join(prompt.id for prompt in prompts[:MOST_NAMED])}{', ...' if len(prompts) > MOST_NAMED else ''}"
    )


def _rows(path: Path, named: str) -> list[tuple[int, dict]]:
    """The line that each row begins on, and its cells; the cells are checked one by one elsewhere."""
    try:
        # A spreadsheet may put a byte order mark in front of UTF-8.
        data = read_at_most(path, MOST_BYTES)
        if len(data) > MOST_BYTES:
            raise UserError(f"{path} has more than {MOST_BYTES} bytes: split it")
        text = data.decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"{path} is missing: restore it, or name another file {named}") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: name a CSV file {named}") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line} is not UTF-8: save the file as CSV in UTF-8") from None
    if not text.strip():
        raise UserError(f"{path} is empty: its first line must be {','.join(COLUMNS)}")
    reader, line = csv.reader(io.StringIO(text, newline=""), strict=True), 1
    rows: list[tuple[int, dict]] = []
    try:
        names = next(reader)
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            raise UserError(
                f"{path}, line 1: column {', '.join(missing)} is missing: the first line must be {','.join(COLUMNS)}"
            )
        twice = [column for column in COLUMNS if names.count(column) > 1]
        if twice:
            raise UserError(f"{path}, line 1: column {', '.join(twice)} stands there twice: rename or remove one")
        line = reader.line_num + 1
        for cells in reader:
            if cells:
                rest = {None: cells[len(names) :]} if len(cells) > len(names) else {}
                rows.append((line, dict(zip_longest(names, cells[: len(names)])) | rest))
            if len(rows) > MOST_ROWS:
                raise UserError(f"{path} has more than {MOST_ROWS} rows: split it")
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{path}: the row that begins in line {line} is not valid CSV ({error}): "
            'put a text that holds commas or quotes into double quotes, and write " inside it as ""'
        ) from None
    return rows


def _prompt(path: Path, line: int, row: dict) -> Prompt:
    """One checked row."""
    where = f"{path}, line {line}"
    if None in row:
        raise UserError(f"{where} has more cells than the first line: put a text that holds commas into double quotes")
    cells = {column: (row[column] or "").strip() for column in COLUMNS}
    for column, cell in cells.items():
        if not cell:
            raise UserError(f"{where}: column '{column}' is empty: fill it in or delete the row")
        if reason := text_fault(cell, UNWRITABLE, MOST_CHARACTERS):
            raise UserError(f"{where}: column '{column}' {reason}")
    try:
        safe_name(cells["id"])
    except ValueError as error:
        raise UserError(f"{where}: id '{cells['id']}': {error}") from None
    seed = cells["seed"]
    if not (seed.isascii() and seed.isdigit() and len(seed) < 20 and int(seed) < SEED_LIMIT):
        raise UserError(f"{where}: seed '{seed}' is not a whole number from 0 to {SEED_LIMIT - 1}")
    return Prompt(**{**cells, "seed": int(seed)})


def sample_of(items: Sequence[Item], count: int, first: int = 0) -> list[Item]:
    """`count` of the items (or all there are): the `first` ones, then some spread evenly over the others."""
    head, rest = list(items[: min(first, count)]), items[min(first, count) :]
    wanted = min(count - len(head), len(rest))
    return head + [rest[(2 * number + 1) * len(rest) // (2 * wanted)] for number in range(wanted)]
