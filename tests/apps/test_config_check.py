"""`holdfast config check`: right or wrong, and in which line."""

from __future__ import annotations

import os

import pytest

from tests.apps.commands import Command


@pytest.fixture
def check(holdfast: Command, tmp_path):
    """Check a text; give the exit code and, for a wrong one, its line and its message."""

    def run(text, name="holdfast.toml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        ended = holdfast("config", "check", path)
        assert "Traceback" not in ended.err
        if ended.code == 0:
            assert ended.out == f"{path}: right\n"
            assert ended.err == ""
            return 0, 0, ""
        assert ended.code == 2
        assert ended.out == ""
        (line,) = ended.err.splitlines()
        assert line.startswith(f"{path}:"), line
        number, _, words = line.removeprefix(f"{path}:").partition(":")
        return 2, int(number) if number.isdecimal() else None, words or number

    return run


def wrong(told, line, *words):
    code, found, message = told
    assert code == 2
    for word in words:
        assert word in message, message
    assert found == line, message


def test_right_files(check):
    assert check("")[0] == 0
    assert check("# only a comment\n")[0] == 0
    assert check("\ufeff"[:0] + "[retry]\nmax_attempts = 5\n")[0] == 0
    assert check('[system]\r\nname = "a"\r\n')[0] == 0
    assert check("system.total = 5.0\nretry = {max_attempts = 2}\n")[0] == 0


def test_the_example_of_the_documentation_is_right(holdfast: Command):
    from pathlib import Path

    example = Path(__file__).parents[2] / "examples" / "holdfast.toml"
    ended = holdfast("config", "check", example)
    assert ended.code == 0, ended.err


def test_names_that_a_service_gives_are_taken_as_given(check):
    text = """
[pipelines.a]
policies = [
  {type = "retry", on = "@is_worth_it"},
  {type = "fallback", value = "@give_old"},
]
"""
    code, _, message = check(text)
    assert code == 0, message


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[retry]\nmax_attempts = 0\n", 2, "retry.max_attempts must be"),
        ("[retry]\n\n# a comment\n  max_attempts   =   0  # another\n", 4, "retry.max_attempts"),
        ("[retry]\nmax_atempts = 5\n", 2, "did you mean max_attempts?"),
        ("[system]\nname = 'a'\ntotal = -1\n", 3, "system.total must be"),
        ("[system]\nrecover = 1\n", 2, "system.recover must be"),
        ("\n\n[sistem]\nname = 'a'\n", 3, "did you mean system?"),
        ("retry = 5\n", 1, "retry must be a table"),
        ("[system]\nname = 'a'\n[retry]\ninitial = nan\n", 4, "retry.initial"),
        ("retry.max_attempts = 0\n", 1, "retry.max_attempts"),
        ("retry = {max_attempts = 0}\n", 1, "retry.max_attempts"),
        ("[degradation]\ncooldown = 5\n[degradation.memory]\ndegrad = [0.5]\n", 4, "degrade?"),
        ("[degradation]\nmemory = {degrade = [2.0]}\n", 2, "degradation.memory"),
        ("[degradation.memory]\ndegrade = [0.5, 0.4]\n", 2, "degradation.memory.degrade"),
        ("[circuit_breaker]\ntimeout = -5\n", 2, "circuit_breaker.timeout"),
        ("[history]\nurl = ''\n", 2, "history.url"),
        ("[analytics]\nmax_history = true\n", 2, "analytics.max_history"),
    ],
)
def test_a_wrong_setting_in_a_table(check, text, line, words):
    wrong(check(text), line, words)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        # Arrays of tables, each with its number.
        (
            (
                "[[pipelines.a.policies]]\ntype = 'retry'\n"
                "[[pipelines.a.policies]]\ntype = 'timeout'\nseconds = -1\n"
            ),
            5,
            "pipelines.a.policies[1].seconds",
        ),
        (
            (
                "[[pipelines.a.policies]]\ntype = 'timeout'\nseconds = -1\n"
                "[[pipelines.a.policies]]\ntype = 'retry'\n"
            ),
            3,
            "pipelines.a.policies[0].seconds",
        ),
        (
            "[[pipelines.a.policies]]\ntype = 'retry'\n[[pipelines.b.policies]]\ntype = 'rtry'\n",
            4,
            "pipelines.b.policies[0]",
        ),
        # A table inside one of them.
        (
            (
                "[[pipelines.a.policies]]\ntype = 'retry'\n[pipelines.a.policies.backoff]\n"
                "growth = 'upwards'\n"
            ),
            4,
            "pipelines.a.policies[0].backoff.growth",
        ),
        # An array over several lines, with comments in it.
        (
            (
                "[pipelines.a]\npolicies = [\n  {type = 'retry'}, # ], {\n  # x = [\n"
                "  {type = 'timeout', seconds = -1},\n]\n"
            ),
            5,
            "pipelines.a.policies[1].seconds",
        ),
        # Keys in quotes, with dots, strokes and signs of equality in them.
        ("[breakers.'gpu 1']\ntimeout = -1\n", 2, 'breakers."gpu 1".timeout'),
        ('[breakers."gpu.1"]\ntimeout = -1\n', 2, 'breakers."gpu.1".timeout'),
        ('[breakers]\n"gpu 1" = {timeout = -1}\n', 2, 'breakers."gpu 1".timeout'),
        ("[breakers]\n'a=b'.timeout = -1\n", 2, 'breakers."a=b".timeout'),
        ("[breakers.'a]b']\ntimeout = -1\n", 2, 'breakers."a]b".timeout'),
        ("[ breakers . one ]\ntimeout = -1\n", 2, "breakers.one.timeout"),
        ("['retry']\nmax_attempts = 0\n", 2, "retry.max_attempts"),
    ],
)
def test_a_wrong_setting_in_nested_tables_and_under_odd_names(check, text, line, words):
    wrong(check(text), line, words)


def test_a_text_over_several_lines_is_not_taken_for_settings(check):
    text = (
        '[system]\nname = """\n[retry]\nmax_attempts = 0\n"""\n\n'
        "[history]\nretention_days = -1\n[retry]\nmax_attempts = 0\n"
    )
    code, line, message = check(text)
    assert code == 2
    expected = {"history.retention_days": 8, "retry.max_attempts": 10}
    assert line == expected[message.split()[0]], message


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[retry\n", 1),
        ("[retry]\nmax_attempts = \n", 2),
        ("[retry]\nmax_attempts = 5 6\n", 2),
        ("[retry]\nmax_attempts = 5\nmax_attempts = 6\n", 3),
        ("[retry]\n[retry]\n", 2),
        ("name = 'not ended\n", 1),
        ('name = """not ended\n\n', 1),
        ("nothing\n", 1),
        ("a = [" * 3 + "\n", 1),
    ],
)
def test_what_is_no_toml(check, text, line):
    wrong(check(text), line, "not TOML")


def test_a_byte_order_mark_is_told(check):
    code, line, _ = check(b"\xef\xbb\xbf[retry]\nmax_attempts = 2\n")
    assert (code, line) in {(0, 0), (2, 1)}


def test_arrays_nested_without_end(check):
    code, _, message = check("a = " + "[" * 50_000 + "\n")
    assert code == 2, message


def test_what_is_no_utf_8(check):
    wrong(check(b"[retry]\n# caf\xe9\nmax_attempts = 5\n"), 2, "not UTF-8")
    wrong(check("[retry]\n".encode("utf-16")), 1, "not UTF-8")


def test_what_cannot_be_read(holdfast: Command, tmp_path):
    for path, words in [(tmp_path, "directory"), (tmp_path / "none.toml", "No such file")]:
        ended = holdfast("config", "check", path)
        assert (ended.code, ended.out) == (2, "")
        (line,) = ended.err.splitlines()
        assert words in line


def test_a_huge_file_is_not_read(holdfast: Command, tmp_path):
    path = tmp_path / "huge.toml"
    path.touch()
    os.truncate(path, 20 * 1024**3)
    ended = holdfast("config", "check", path)
    assert ended.code == 2
    assert "larger than" in ended.err


def test_what_never_ends_is_given_up(holdfast: Command):
    ended = holdfast("config", "check", "/dev/zero")
    assert ended.code == 2
    assert "larger than" in ended.err


def test_a_name_of_a_file_moves_no_cursor(holdfast: Command, tmp_path):
    path = tmp_path / "red\x1b[31m.toml"
    path.write_text("")
    ended = holdfast("config", "check", path)
    assert ended.code == 0
    assert "\x1b" not in ended.out
    path.write_text("[retry\n")
    ended = holdfast("config", "check", path)
    assert ended.code == 2
    assert "\x1b" not in ended.err


def test_each_of_several_files_is_told(holdfast: Command, tmp_path):
    for name, text in [("a", "[retry]\n"), ("b", "[rety]\n"), ("c", "[system]\ntotal = 0\n")]:
        (tmp_path / name).write_text(text)
    ended = holdfast("config", "check", *(tmp_path / name for name in "abc"))
    assert ended.code == 2
    assert ended.out.splitlines() == [f"{tmp_path / 'a'}: right"]
    assert len(ended.err.splitlines()) == 2


def test_without_a_file_it_says_what_it_needs(holdfast: Command):
    ended = holdfast("config", "check")
    assert ended.code == 2
    assert "FILE.toml" in ended.err
