"""The prompts file: what is read, and what each mistake in it is answered with."""

from pathlib import Path

import pytest

from stages.lib.project.errors import UserError
from stages.lib.project.prompts import Prompt, load_prompts
from tests.conftest import PROJECT

HEADER = "id,prompt,kind,complexity,seed,set\n"
CAT = "cat,a cat,animal,low,1,study\n"
SHIPPED = PROJECT / "data" / "prompts.csv"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prompts.csv"


def message(file: Path, content: str | bytes, sets: tuple[str, ...] | None = None) -> str:
    """The error that this content gives; it always names the file."""
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as caught:
        load_prompts(file, sets)
    assert str(caught.value).count("\n") == 0
    assert str(file) in str(caught.value)
    return str(caught.value)


def test_rows_come_in_the_order_of_the_file(file):
    """Protects the order of images in every report."""
    file.write_text(HEADER + "b,two,x,low,2,study\na,one,x,low,1,extended\n", encoding="utf-8")
    assert [prompt.id for prompt in load_prompts(file, None)] == ["b", "a"]


def test_only_the_asked_sets_are_given(file):
    """Protects `prompts.sets`: a small run generates only what it names."""
    file.write_text(HEADER + CAT + "dog,a dog,animal,low,2,extended\n", encoding="utf-8")
    assert load_prompts(file, ("study",)) == [Prompt("cat", "a cat", "animal", "low", 1, "study")]


def test_a_comma_in_quotes_and_a_byte_order_mark_are_read(file):
    """Protects files that a spreadsheet saved."""
    file.write_bytes("\ufeff".encode() + HEADER.encode() + b'cat,"a cat, digital art",animal,low,1,study\r\n')
    assert load_prompts(file, None)[0].prompt == "a cat, digital art"


def test_columns_may_stand_in_any_order_beside_others(file):
    """Protects a file with a column for remarks."""
    file.write_text("set,seed,remark,id,prompt,kind,complexity\nstudy,1,,cat,a cat,animal,low\n", encoding="utf-8")
    assert load_prompts(file, None) == [Prompt("cat", "a cat", "animal", "low", 1, "study")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        (HEADER, "has no prompts"),
        (HEADER + CAT + "cat,another,animal,low,2,study\n", "line 3: id 'cat' stands there twice"),
        (HEADER + CAT + "Cat,another,animal,low,2,study\n", "line 3: id 'Cat' stands there twice"),
        (HEADER + CAT + CAT.replace("cat,", "dog,", 1), "line 3: prompt and seed are those of line 2"),
        ("id,prompt,kind,complexity,set\n", "column seed is missing"),
        (HEADER + "cat,,animal,low,1,study\n", "line 2: column 'prompt' is empty"),
        (HEADER + "cat,a cat,animal\n", "line 2: column 'complexity' is empty"),
        (HEADER + "cat,a cat, sleeping,animal,low,1,study\n", "line 2 has more cells than the first line"),
        (HEADER + "\n" + CAT + 'dog,"a dog,animal,low,1,study\n\n', "the row that begins in line 4 is not valid CSV"),
        (HEADER + "\n\n" + "cat,a cat,animal,low,one,study\n", "line 4: seed 'one'"),
        (HEADER + "../cat,a cat,animal,low,1,study\n", "line 2: id '../cat'"),
        (HEADER + "a/b,a cat,animal,low,1,study\n", "line 2: id 'a/b'"),
        (HEADER + "cat,a cat,animal,low,one,study\n", "line 2: seed 'one' is not a whole number"),
        (HEADER + "cat,a cat,animal,low,-1,study\n", "seed '-1'"),
        (HEADER + "cat,a cat,animal,low,1.5,study\n", "seed '1.5'"),
        (HEADER + f"cat,a cat,animal,low,{2**63},study\n", f"seed '{2**63}'"),
        (HEADER + f"cat,a cat,animal,low,{'9' * 1500},study\n", "is not a whole number"),
        ("id,seed," + HEADER + "1,2," + CAT, "line 1: column id, seed stands there twice: rename or remove one"),
        (HEADER + f"cat,{'a' * 2001},animal,low,1,study\n", "'prompt' has 2001 characters: write at most 2000"),
        (HEADER + "cat,a\x07 cat,animal,low,1,study\n", "line 2: column 'prompt' holds the character U+0007"),
        (HEADER + "cat,a\u202e cat,animal,low,1,study\n", "'prompt' holds the character U+202E, which no text here"),
        (HEADER + "cat,a c\u200bat,animal,low,1,study\n", "'prompt' holds the character U+200B"),
        (HEADER + "cat,a c\u200dat,animal,low,1,study\n", "'prompt' holds the character U+200D"),
        (HEADER + "aux,a cat,animal,low,1,study\n", "id 'aux': a name becomes a folder name, and Windows keeps this"),
        (HEADER.encode() + b"cat,a c\xe4t,animal,low,1,study\n", "line 2 is not UTF-8"),
    ],
)
def test_a_mistake_is_one_message_that_names_file_and_place(file, content, said):
    """Protects a user from a traceback, and from images that overwrite each other."""
    assert said in message(file, content)


def test_the_largest_seed_is_allowed(file):
    """Protects the upper end of the range."""
    file.write_text(HEADER + f"cat,a cat,animal,low,{2**63 - 1},study\n", encoding="utf-8")
    assert load_prompts(file, None)[0].seed == 2**63 - 1


def test_scripts_and_emoji_that_join_by_what_is_not_seen_are_prompts(file):
    """Protects Persian, Hindi and families of emoji from the rule against characters that nobody sees."""
    prompts = (
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        "\u0915\u094d\u200d\u0937",
        "\U0001f468\u200d\U0001f469",
    )
    file.write_text(
        HEADER + "".join(f"p{n},{text},x,low,{n},study\n" for n, text in enumerate(prompts)), encoding="utf-8"
    )
    assert tuple(prompt.prompt for prompt in load_prompts(file, None)) == prompts


def test_an_unknown_set_lists_the_known_ones(file):
    """Protects against a run that generates nothing."""
    said = message(file, HEADER + CAT, ("study", "studdy"))
    assert "params.yaml: 'prompts.sets' names 'studdy'" in said and said.endswith("use some of study")


def test_a_missing_file_names_the_key_to_mend(tmp_path):
    """Protects the way out of a wrong path."""
    with pytest.raises(UserError, match="'prompts.file'"):
        load_prompts(tmp_path / "none.csv", None)


def test_the_shipped_file_holds_the_three_prompts_of_the_study():
    """Protects the comparison with the study: texts and seeds are its own."""
    study = load_prompts(SHIPPED, ("study",))
    assert [(prompt.id, prompt.seed, prompt.prompt) for prompt in study] == [
        ("landscape", 42, "A beautiful sunset over mountains, digital art"),
        ("animal", 43, "A cute cat sitting on a windowsill"),
        ("fantasy", 44, "An astronaut riding a horse on Mars"),
    ]


def test_the_shipped_prompts_are_many_and_different():
    """Protects the breadth of the quality figures."""
    prompts = load_prompts(SHIPPED, None)
    assert len(prompts) >= 32
    assert len({prompt.seed for prompt in prompts}) == len(prompts)
    assert len({prompt.prompt for prompt in prompts}) == len(prompts)
    assert {prompt.kind for prompt in prompts} == {
        "landscape",
        "animal",
        "fantasy",
        "person",
        "object",
        "blocked",
    }
    assert {prompt.complexity for prompt in prompts} == {"low", "medium", "high"}


def test_the_embedded_model_knows_every_shipped_prompt():
    """Protects prompts against words and scenes that the model was not trained on."""
    from training.captions import parse
    from training.drawing.content import PLACES_WITHOUT_TIME, STYLES_WITHOUT_COLOUR, allowed_places

    for prompt in load_prompts(SHIPPED, None):
        named = parse(prompt.prompt)
        assert named is not None, prompt
        assert named["subject"] == "none" or named["place"] in allowed_places(named["subject"]), prompt
        assert not (named["place"] in PLACES_WITHOUT_TIME and named["time"]), prompt
        assert not (named["style"] in STYLES_WITHOUT_COLOUR and named["colour"]), prompt
        assert named["campfire"] == (prompt.kind == "blocked"), prompt
