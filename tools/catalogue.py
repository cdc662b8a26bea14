"""Which texts does the report have, and which are not translated? Read them and update the catalogues.

`python -m tools.catalogue` adds new texts to stages/lib/reporting/locales/*/LC_MESSAGES/messages.po, without a
translation, and drops those that are gone. A text that only resembles an old one is new: nothing is guessed. Then
translate what is listed; `python -m pytest tests/test_catalogue.py` says what is left.
"""

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import write_po

from stages.lib.reporting.languages import LOCALES, catalogue_file, catalogue_of

PROJECT = Path(__file__).parents[1]
WIDTH = 120
# Lines of a catalogue's head that change without its texts, or say nothing here.
CHANGING = re.compile(
    r'^"(?:Report-Msgid-Bugs-To|POT-Creation-Date|PO-Revision-Date|Last-Translator|Language-Team|Generated-By): .*\n',
    re.MULTILINE,
)


def main() -> None:
    """Update every catalogue and print what has no translation."""
    texts = extracted()
    for language in sorted(path.name for path in LOCALES.iterdir() if path.is_dir()):
        missing = update(language, texts)
        print(f"{language}: {len(texts)} texts, {len(missing)} without a translation")
        for text in missing:
            print(f"  {text}")


def extracted() -> Catalog:
    """Every text of modules and templates, as babel.cfg says where they stand."""
    with (PROJECT / "babel.cfg").open(encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)
    catalogue = Catalog()
    found = extract_from_dir(PROJECT, methods, options, DEFAULT_KEYWORDS, directory_filter=lambda path: _is_ours(path))
    for path, line, message, comments, context in found:
        catalogue.add(message, None, [(path, line)], auto_comments=comments, context=context)
    return catalogue


def _is_ours(folder: str) -> bool:
    return Path(folder).relative_to(PROJECT).parts[:1] in ((), ("stages",))


def metric_texts(file: IO[bytes], keywords: Any, tags: Any, options: Any) -> Iterator[tuple[int, None, str, list]]:
    """The names and sentences of the table of metrics."""
    rows = csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))
    for row in rows:
        yield from ((rows.line_num, None, row[column], []) for column in ("name", "sentence"))


def update(language: str, texts: Catalog) -> list[str]:
    """Bring one catalogue up to date; returned are the texts that it does not translate."""
    catalogue = catalogue_of(language)
    catalogue.update(texts, no_fuzzy_matching=True)
    catalogue.obsolete.clear()
    save(language, catalogue)
    return [str(message.id) for message in catalogue if message.id and not translated(message.string)]


def save(language: str, catalogue: Catalog) -> None:
    """Write a catalogue in the form in which Git shows what changed."""
    written = io.BytesIO()
    write_po(written, catalogue, width=WIDTH, no_location=True)
    catalogue_file(language).write_text(CHANGING.sub("", written.getvalue().decode("utf-8")), encoding="utf-8")


def translated(string: str | tuple[str, ...]) -> bool:
    """Whether a translation is there, in every plural form."""
    return all(string) if isinstance(string, tuple) else bool(string)


if __name__ == "__main__":
    main()
