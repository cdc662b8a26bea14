"""The outline: the study's tables have its numbers whatever else is there."""

from stages.lib.reporting.outline import OTHER_TABLES, STUDY_TABLES, numbers, sections


def test_the_study_s_fifteen_tables_have_its_numbers():
    """Known answers from its captions."""
    found = numbers(str, illustrated=True)
    assert len(STUDY_TABLES) == 15
    known = {"machine": 1, "sizes": 4, "kinds": 8, "tradeoff": 10, "components": 11, "costs": 13, "prospects": 15}
    assert {key: found[f"table-{key}"] for key in known} == {key: f"Table {n}" for key, n in known.items()}


def test_a_table_of_the_study_that_is_left_out_leaves_its_number_unused():
    without = numbers(str, illustrated=False)
    assert "table-quality" not in without and "Table 7" not in without.values()
    assert without["table-performance"] == "Table 6" and without["table-future"] == "Table 14"
    assert without["table-formulas"] == "Table 16" and without["table-coverage"] == "Table 17"


def test_tables_that_the_study_lacks_are_numbered_on_from_sixteen():
    found = numbers(str, illustrated=True)
    assert [found[f"table-{key}"] for key in OTHER_TABLES] == [f"Table {16 + n}" for n in range(len(OTHER_TABLES))]


def test_chapters_follow_the_study():
    order = list(sections(str, illustrated=True))
    chapters = ["theory", "method", "results", "analysis", "limits", "future", "prospects", "audit"]
    assert [key for key in order if key in chapters] == chapters
