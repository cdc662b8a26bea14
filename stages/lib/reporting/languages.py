"""The languages of the report: catalogues, and how each writes numbers, dates, units and lists.

A page is written in one language. `spoken` sets it for all that is formatted meanwhile, so that a number needs no
language of its own wherever it is written: in a filter, in a sentence or at a tick of a chart.
"""

import gettext
import io
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal

from babel import Locale
from babel.dates import format_date
from babel.lists import format_list
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

from stages.lib.project.errors import UserError

Translate = Callable[[str], str]

LOCALES = Path(__file__).parent / "locales"
SOURCE = "en"  # the language of the source, which needs no catalogue
NO_BREAK_SPACE, NARROW_NO_BREAK_SPACE, MINUS = "\u00a0", "\u202f", "\u2212"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def N_(text: str) -> str:  # noqa: N802, the name that tools for catalogues know
    """`text`, marked for the catalogue where it is defined; it is translated where it is shown."""
    return text


@dataclass(frozen=True)
class Language:
    """One language: its catalogue, and the signs that its numbers are written with."""

    code: str
    translations: gettext.NullTranslations
    decimal: str = "."
    group: str = ","

    def text_of(self, number: str) -> str:
        """A number as Python writes it ('-1,234.5', '1.2e-05'), as this language does."""
        text = number.replace("-", MINUS)
        if self.code == SOURCE:
            return text
        text = text.translate(str.maketrans({",": self.group, ".": self.decimal}))
        return re.sub(r"e([+−]?)0*(\d+)", self._power, text)

    @staticmethod
    def _power(exponent: re.Match) -> str:
        sign = "-" if exponent[1] == MINUS else ""
        return f"{NO_BREAK_SPACE}·{NO_BREAK_SPACE}10{(sign + exponent[2]).translate(SUPERSCRIPTS)}"


def catalogue_file(language: str) -> Path:
    """Where the catalogue of `language` is."""
    return LOCALES / language / "LC_MESSAGES" / "messages.po"


def catalogue_of(language: str) -> Catalog:
    """The catalogue as it stands in Git. A language without one is a UserError that lists the others."""
    path = catalogue_file(language)
    if not path.is_file():
        known = ", ".join([SOURCE, *sorted(item.name for item in LOCALES.iterdir() if item.is_dir())])
        raise UserError(f"params.yaml: 'report.languages' names '{language}', which has no catalogue: use {known}")
    with path.open("rb") as file:
        return read_po(file, locale=language)


def language_of(code: str) -> Language:
    """The language of that code, its catalogue read from source."""
    if code == SOURCE:
        return ENGLISH
    compiled = io.BytesIO()
    write_mo(compiled, catalogue_of(code))
    compiled.seek(0)
    symbols = Locale.parse(code).number_symbols["latn"]
    group = symbols["group"].replace(NO_BREAK_SPACE, NARROW_NO_BREAK_SPACE)
    return Language(code, gettext.GNUTranslations(compiled), symbols["decimal"], group)


ENGLISH = Language(SOURCE, gettext.NullTranslations())
_SPOKEN = ContextVar("spoken", default=ENGLISH)


@contextmanager
def spoken(language: Language) -> Iterator[None]:
    """Everything that is formatted in the block is formatted in `language`."""
    token = _SPOKEN.set(language)
    try:
        yield
    finally:
        _SPOKEN.reset(token)


def number(value: float, spec: str) -> str:
    """`value` as the format specification says ('.2f', ',d', '+.1f', '.1e', 'g'), with the language's signs.

    Zero has no power of ten.
    """
    return localized("0" if value == 0 and spec.endswith("e") else format(value, spec))


def numbers(spec: str, **values: float) -> dict[str, str]:
    """What a text is filled with: every value by its name, as `number` writes it."""
    return {name: number(value, spec) for name, value in values.items()}


def localized(text: str) -> str:
    """A number that is text already, such as the tick of a chart, with the language's signs."""
    return _SPOKEN.get().text_of(text)


def percent_of(share: float, spec: str) -> str:
    """A share (0 to 1) in percent: '12.5 %'."""
    return f"{number(100 * share, spec)}{NO_BREAK_SPACE}%"


def unit(name: str) -> str:
    """The language's sign of a unit: 'дБ' for 'dB'."""
    return _SPOKEN.get().translations.gettext(name) if name else ""


def day(when: date) -> str:
    """A date as it stands in a text: 'January 2, 2026'."""
    return format_date(when, "long", locale=_SPOKEN.get().code)


def list_of(labels: Sequence[str], style: Literal["standard", "or"] = "standard") -> str:
    """Labels as a list within a sentence: 'A', 'A and B', 'A, B, and C'; with 'or' in place of 'and'."""
    return format_list(list(labels), style, locale=_SPOKEN.get().code)
