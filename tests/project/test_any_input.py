"""params.yaml and the prompts file: whatever is in them, the answer is one message, within two seconds."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from stages.lib.project.errors import UserError
from stages.lib.project.params import load_params
from stages.lib.project.prompts import COLUMNS, load_prompts
from tests.any_input import edited, one_message, spliced, within_limits
from tests.project.test_params import VALID

DOCUMENT = YAML(typ="safe", pure=True).load(VALID)
PROMPTS = ",".join(COLUMNS) + '\ncat,"a cat, asleep",animal,low,1,study\ndog,a dog,animal,high,2,extended\n'


def read(data: bytes, read_file) -> None:
    with TemporaryDirectory() as folder, within_limits():
        path = Path(folder, "file")
        path.write_bytes(data)
        one_message(lambda: read_file(path))


@given(edited(DOCUMENT))
def test_any_value_in_params(document):
    """Protects every key, present and future, from a value that nobody thought of."""
    read(json.dumps(document).encode(), load_params)


@given(spliced(VALID.encode()))
def test_any_text_in_params(data):
    read(data, load_params)


@given(spliced(PROMPTS.encode()))
def test_any_text_in_prompts(data):
    read(data, lambda path: load_prompts(path, None))


@given(st.lists(st.lists(st.one_of(st.text(max_size=30), st.sampled_from(COLUMNS)), max_size=8), max_size=5))
def test_any_cells_in_prompts(rows):
    lines = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    read("\n".join([",".join(COLUMNS), *lines]).encode("utf-8", "surrogatepass"), lambda path: load_prompts(path, None))


BOMB = "\n".join(["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))])
# Merge keys are copied while the document is constructed.
MERGES = "\n".join(["a0: &a0 {b: 1}", *(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9))])


@pytest.mark.parametrize("read_file", [load_params, lambda path: load_prompts(path, None)])
def test_a_file_without_an_end_is_one_message(tmp_path, read_file):
    """Protects memory from what is larger than any such file, before its size is known."""
    (tmp_path / "file").symlink_to("/dev/zero")
    with within_limits(), pytest.raises(UserError, match="has more than"):
        read_file(tmp_path / "file")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: " + "9" * 5000, "line 1 has a value of 5000 characters: write at most 2000"),
        ("a: 0x" + "9" * 1900, "'a' has more than 40 digits"),
        ("a: " + "[" * 5000 + "]" * 5000, "nested more than 50 deep"),
        ("- " * 5000, "nested more than 50 deep"),
        ("a: &a [*a]", "nested more than 50 deep"),
        (BOMB, "more than 5000 values"),
        (MERGES, "line 5: it has more than 5000 values"),
        ("a: &a {<<: *a}", "nested more than 50 deep"),
        ("a: *b", "found undefined alias 'b'"),
        ("a: " + "x" * 70_000, "more than 65536 bytes: shorten it"),
        ("a: " + "x" * 3_000, "line 1 has a value of 3000 characters: write at most 2000"),
        ('a: "\\x9b"', "'a' holds the character U+009B"),
        ('a: "b\\0"', "'a' holds the character U+0000"),
        ('a: "\\ud800"', "'a' holds the character U+D800"),
        ("a: !!python/name:os.system x", "line 1 has the tag tag:yaml.org,2002:python/name:os.system: remove it"),
        ("a: 2001-13-45", "month must be in 1..12"),
        ("a: .inf", "'a' is inf: write a finite number"),
    ],
)
def test_a_document_is_read_within_limits(tmp_path, text, said):
    """Protects from minutes of parsing and from gigabytes, and tells what to mend."""
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(tmp_path / "params.yaml")
    assert said in str(caught.value) and str(caught.value).startswith(str(tmp_path / "params.yaml"))
