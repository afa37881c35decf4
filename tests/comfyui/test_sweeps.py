"""Sweep files: what a line means, and what is said of a line that means nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui import sweeps
from holdfast.comfyui.sweeps import read
from holdfast.errors import BadInputError


@pytest.fixture
def shots(tmp_path):
    def write(text, name="shots.jsonl"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(BadInputError) as caught:
        list(read(path))
    text = str(caught.value)
    assert str(path) in text
    return text


def test_a_line_is_a_run(shots, tmp_path):
    (tmp_path / "cat.png").write_bytes(b"x")
    (tmp_path / "w.json").write_text("{}")
    line = {
        "3.seed": 5, "text": "a cat", "10.image": "@cat.png", "6.text": "@@artist", "name": "one",
        "priority": 3, "deadline": 60, "key": "k1", "workflow": "w.json", "count": 2,
    }  # fmt: skip
    (row,) = read(shots("\n" + json.dumps(line) + "\n\n"))
    assert row.line == 2
    assert row.inputs == {"3.seed": 5, "text": "a cat", "6.text": "@artist"}
    assert row.files == {"10.image": tmp_path / "cat.png"}
    assert (row.name, row.priority, row.within, row.key) == ("one", 3, 60.0, "k1")
    assert (row.workflow, row.count, row.due) == (tmp_path / "w.json", 2, None)


def test_a_deadline_may_be_a_time(shots):
    (row,) = read(shots('{"deadline": "2026-11-30T07:00:00+00:00"}'))
    assert row.due == 1_796_022_000.0


def test_cells_are_json_where_they_can_be_and_empty_ones_leave_the_workflow_alone(shots):
    text = '\ufeff3.seed,6.text,cfg,flag\n5,"a ""red"" cat, sitting",7.5,true\n,NaN,"""5""",\n'
    first, second = read(shots(text, "shots.csv"))
    assert first.inputs == {
        "3.seed": 5, "6.text": 'a "red" cat, sitting', "cfg": 7.5, "flag": True,
    }  # fmt: skip
    assert second.inputs == {"6.text": "NaN", "cfg": "5"}
    assert (first.line, second.line) == (2, 3)


@pytest.mark.parametrize(("mark", "name"), [(";", "a.csv"), ("\t", "a.csv"), ("\t", "a.tsv")])
def test_what_spreadsheets_write_is_read(shots, mark, name):
    (row,) = read(shots(f"3.seed{mark}6.text\r\n1{mark}a, b\r\n", name))
    assert row.inputs == {"3.seed": 1, "6.text": "a, b"}


def test_a_cell_may_have_several_lines(shots):
    first, second = read(shots('seed,text\n1,"a\nb"\n2,c\n', "a.csv"))
    assert first.inputs["text"] == "a\nb"
    assert (first.line, second.line) == (2, 4)


def test_a_grid_is_every_combination_the_last_list_fastest(shots):
    rows = list(read(shots('{"3.seed": [1, 2], "cfg": 7, "6.text": ["a", "b"], "expand": true}')))
    assert [(row.inputs["3.seed"], row.inputs["6.text"]) for row in rows] == [
        (1, "a"), (1, "b"), (2, "a"), (2, "b"),
    ]  # fmt: skip
    assert {row.inputs["cfg"] for row in rows} == {7}
    assert [row.point for row in rows] == [1, 2, 3, 4]


def test_a_list_is_a_value_where_nothing_is_expanded(shots):
    (row,) = read(shots('{"3.points": [1, 2]}'))
    assert row.inputs == {"3.points": [1, 2]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "line 1: not JSON"),
        ("{}\n[1]", "line 2: [1] is no object"),
        ('{"a": 1, "a": 2}', "line 1: a: given twice"),
        ('{"a": NaN}', "line 1: NaN is no number"),
        ('{"priority": "high"}', "line 1: priority: 'high': write a whole number"),
        ('{"priority": true}', "write a whole number"),
        ('{"count": 0}', "line 1: count: 0: write a whole number from 1"),
        ('{"deadline": "soon"}', "line 1: deadline: 'soon': write seconds from now"),
        ('{"deadline": -1}', "deadline: -1"),
        ('{"name": "' + "x" * 201 + '"}', "at most 200 characters"),
        ('{"name": ["x"]}', "line 1: name: ['x']: write a text"),
        ('{"workflow": "none.json"}', "line 1: workflow: there is no file"),
        ('{"1.image": "@none.png"}', "line 1: 1.image: there is no file"),
        ('{"1.image": "@"}', "there is no file"),
        ('{"expand": "yes"}', "line 1: expand: 'yes': write true or false"),
        ('{"seed": [], "expand": true}', "line 1: seed: []"),
        ('{"seed": [1, 2], "key": "k", "expand": true}', "cannot have one key"),
        ('{" ": 1}', "a key is an input"),
        ("", "there is no run in it"),
        (b"\xff\xfe{", "line 1: not UTF-8"),
        ('{"a": "' + "x" * sweeps.MAX_LINE + '"}', "line 1: longer than"),
        ('{"a": ' + "[" * 100_000 + "]" * 100_000 + "}", "line 1: nested too deeply"),
        (json.dumps({c: list(range(100)) for c in "abcd"} | {"expand": True}), "100,000,000 runs"),
    ],
)
def test_a_wrong_line_is_named_with_what_would_be_right(shots, text, words):
    assert words in refusal(shots(text))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("seed,seed\n1,2\n", "line 1: seed: named twice"),
        ("seed,\n1,2\n", "line 1: column 2 has no name"),
        ("seed,expand\n1,true\n", "grids are for JSONL"),
        ("seed,text\n1,a,b\n", "line 2: 3 cells under a header of 2"),
        ('seed,text\n1,"a\n', "line 2: unexpected end of data"),
        ('seed,text\n1,"a"b\n', "line 2: "),
        ("seed,text\n1," + "x" * 200_000 + "\n", "line 2: field larger"),
        ("seed,text\n1" + (',"' + ("x" * 1000 + "\n") * 100 + '"') * 20, "a record has more than"),
        ("seed,count\n1,many\n", "line 2: count: 'many'"),
        ("seed\n", "there is no run in it"),
        (",".join(f"c{n}" for n in range(1001)), "1,001 columns"),
    ],
)
def test_a_wrong_record_is_named_with_what_would_be_right(shots, text, words):
    assert words in refusal(shots(text, "shots.csv"))


def test_a_file_that_is_not_there_is_said(tmp_path):
    assert "cannot read it" in refusal(tmp_path / "none.jsonl")


def test_too_many_runs_end_the_reading(shots, monkeypatch):
    monkeypatch.setattr(sweeps, "MAX_ROWS", 3)
    assert "line 4: more than 3 runs" in refusal(shots('{"a": 1}\n' * 9))


def test_rows_come_while_the_file_is_read(shots):
    rows = read(shots('{"a": 1}\nnonsense\n'))
    assert next(rows).inputs == {"a": 1}
    with pytest.raises(BadInputError, match="line 2"):
        next(rows)


@given(st.binary(max_size=400), st.sampled_from(["a.csv", "a.jsonl", "a.tsv"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_bytes_are_rows_or_a_refusal(tmp_path, content, name):
    path = tmp_path / name
    path.write_bytes(content)
    rows, told = [], ""
    try:
        rows = list(read(path))
    except BadInputError as error:
        told = str(error)
    assert rows or str(path) in told


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(st.lists(st.dictionaries(st.from_regex(r"[0-9]\.[a-z]{1,5}", fullmatch=True), _values)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_what_json_says_arrives_as_it_is(tmp_path, lines):
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in [*lines, {}]))
    assert [dict(row.inputs) for row in read(path)] == [*lines, {}]
