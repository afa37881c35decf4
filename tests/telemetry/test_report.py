"""Reports: whatever is in an error is text, in every form."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from holdfast.error_info import ErrorInfo
from holdfast.errors import BadInputError, ErrorCategory, ErrorSeverity
from holdfast.stores import ErrorHistory
from holdfast.telemetry import plots
from holdfast.telemetry.analytics import ErrorAnalytics
from holdfast.telemetry.report import FORMATS, render, table, to_json
from holdfast.telemetry.report_markdown import plain
from holdfast.testing import FakeClock

HOSTILE = [
    "<script>alert(1)</script>",
    "\"'><img src=x onerror=alert(1)>",
    "</title></style></svg><iframe src=//evil.example>",
    "&lt;b&gt; &amp; &#x3c;i&#x3e;",
    "[click](javascript:alert(1)) ![x](http://evil.example/x.png)",
    "| a | b |\n| --- | --- |\n# heading\n- item\n```\ncode\n```",
    "[bold red]markup[/] [link=http://evil.example]x[/link]",
    "\x1b[31mred\x1b]0;title\x07\x9b2J\r\b",
    "\u202eright to left\u2066",
    "\ud800 half of a pair \udfff \0",
    "https://evil.example/auto-link @everyone",
]
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "main", "header", "h1", "h2", "p", "div"),
    *("section", "b", "span", "small", "code", "table", "tr", "th", "td"),
    *("svg", "rect", "line", "text", "circle", "polyline"),
}


def info(message, **more):
    told = {
        "timestamp": datetime.now(UTC),
        "error_type": message,
        "error_message": message,
        "category": ErrorCategory.NETWORK,
        "severity": ErrorSeverity.CRITICAL,
        "dependency": message,
    }
    return ErrorInfo(**(told | more))


def report_of(*messages):
    analytics = ErrorAnalytics()
    for message in messages:
        number = analytics.record_error(info(message))
        analytics.resolve(number, strategy=message, successful=True)
        analytics.record_recovery(message, ErrorCategory.NETWORK, True, 1.5)
        analytics.record_latency(message, 0.25)
    return analytics.generate_report()


@pytest.fixture
def stored(tmp_path):
    with ErrorHistory(tmp_path / "errors.db", service="pictures") as history:
        for number, message in enumerate(HOSTILE):
            event = history.append(info(message), f"group{number}")
            history.resolve(event, strategy="reconnect", successful=number % 2 == 0)
        assert history.flush(10)
        return history.report()


class Page(HTMLParser):
    """Notes everything a browser would act on."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.attributes, self.open, self.text = set(), [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += [(tag, *attr) for attr in attrs]
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes += [(tag, *attr) for attr in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def check_page(page):
    found = Page(page)
    assert found.open == []
    assert found.elements <= ELEMENTS
    for _, name, value in found.attributes:
        assert not name.startswith("on")
        assert name not in {"src", "href", "style", "xlink:href", "action"}, (name, value)
    assert "url(" not in page
    assert "@import" not in page
    page.encode()
    return found


def as_table(report):
    console = Console(width=200, force_terminal=False, record=True, file=io.StringIO())
    console.print(table(report))
    return console.export_text()


@pytest.mark.parametrize("message", HOSTILE)
def test_a_page_has_no_element_that_an_error_brought(message):
    found = check_page(render(report_of(message), "html", title=message))
    told = "".join(found.text)
    assert plots.printable(message) in told
    policy = [value for tag, name, value in found.attributes if name == "content"]
    assert any("default-src 'none'" in value for value in policy)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=3), st.text(max_size=20))
def test_any_text_is_text_in_every_form(messages, title):
    report = report_of(*messages)
    check_page(render(report, "html", title=title))
    render(report, "markdown", title=title).encode()
    as_table(report).encode()
    assert json.loads(render(report, "json")) == json.loads(json.dumps(report))


@pytest.mark.parametrize("message", HOSTILE)
def test_markdown_has_no_markup_that_an_error_brought(message):
    text = render(report_of(message), "markdown", title=message)
    text.encode()
    rows = [line for line in text.splitlines() if line.startswith("|")]
    cells = {len(re.findall(r"(?<!\\)\|", row)) for row in rows if plain(message) in row}
    assert cells <= {3, 4, 5, 7, 8}
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert len(headings) == 9
    bare = re.sub(r"\\.", "", text)
    assert not re.search(r"[<\[`!]|https?:|@", bare)


@pytest.mark.parametrize("message", HOSTILE)
def test_a_terminal_is_told_nothing_but_text(message):
    text = as_table(report_of(message))
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    first = " ".join(plots.printable(message).split())[:12]
    assert first in text


@pytest.mark.parametrize("message", HOSTILE)
def test_json_is_ascii_and_comes_back_the_same(message):
    report = report_of(message)
    text = to_json(report)
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text) == report


def test_a_report_renders_the_same_after_a_journey_through_json():
    with FakeClock():
        report = report_of("a", "b")
    back = json.loads(to_json(report))
    for form in FORMATS:
        assert render(back, form) == render(report, form)
    assert as_table(back) == as_table(report)


def test_an_empty_report_renders():
    report = ErrorAnalytics().generate_report()
    assert "None." in render(report, "html")
    assert "none attempted" in render(report, "markdown")
    assert "0 in all" in as_table(report)


def test_groups_that_made_room_are_said():
    analytics = ErrorAnalytics(max_groups=1)
    for name in ("ValueError", "TypeError", "KeyError"):
        analytics.record_error(info("m", error_type=name))
    report = analytics.generate_report()
    assert "2 errors were of 2 groups" in "".join(Page(render(report, "html")).text)
    assert "- Groups: 1, and 2 errors of 2 that made room" in render(report, "markdown")


def test_a_report_of_a_history_renders_too(stored):
    found = check_page(render(stored, "html"))
    told = "".join(found.text)
    assert str(len(HOSTILE)) in told
    assert "Errors in the last two days" in told
    assert "Latency" not in told  # it knows nothing of that
    assert "from pictures" in told
    text = render(stored, "markdown")
    assert "- Groups: 11\n" in text
    assert "## Recovery by strategy" in text
    assert "reconnect" in as_table(stored)
    assert json.loads(render(stored, "json")) == stored


def test_a_span_that_is_not_an_hour_is_told(stored):
    assert "a minute over the last hour" in as_table({**stored, "rate_seconds": 3600.0})
    assert "a minute over the last 3 days" in as_table({**stored, "rate_seconds": 260_000.0})


def test_an_unknown_form_is_refused():
    with pytest.raises(BadInputError, match="form must be one of json, markdown, html"):
        render(report_of("m"), "pdf")


# -- plots -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 10**9), max_size=70))
def test_bars_stay_inside_their_plot(counts):
    drawn = plots.over_time(counts, 60.0, "t")
    heights = [float(found) for found in re.findall(r'class="bar".*? height="([\d.]+)"', drawn)]
    assert len(heights) == sum(count > 0 for count in counts)
    assert all(1.0 <= height <= 180.0 - 12 - 24 + 0.1 for height in heights)
    tops = [float(found) for found in re.findall(r'class="bar".*? y="([\d.]+)"', drawn)]
    assert all(top >= 11.9 for top in tops)
    Page(drawn)


@settings(deadline=None, max_examples=50)
@given(
    st.dictionaries(
        st.text(max_size=5), st.lists(st.floats(0, 1e300), min_size=4, max_size=4), max_size=4
    )
)
def test_latencies_stay_inside_their_plot(table):
    keys = ("p50", "p90", "p95", "p99")
    drawn = plots.latencies(
        {name: dict(zip(keys, sorted(values), strict=True)) for name, values in table.items()}, "t"
    )
    places = [float(found) for found in re.findall(r'cx="([\d.]+)"', drawn)]
    assert len(places) == 4 * len(table)
    assert all(150.0 <= place <= plots.WIDTH - 23.9 for place in places)
    assert len(re.findall('class="grid"', drawn)) <= 10


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0, "0 µs"),
        (0.000_25, "250 µs"),
        (0.14, "140 ms"),
        (2.5, "2.5 s"),
        (75.0, "75 s"),
        (600.0, "10 min"),
        (7200.0, "2 h"),
    ],
)
def test_a_duration_in_its_unit(seconds, words):
    assert plots.seconds_in_words(seconds) == words.replace("µ", "\N{MICRO SIGN}")
