"""The report in the morning: every picture, every failure, and nothing that runs or loads."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser

import pytest
from PIL import Image

from holdfast.apps import morning
from holdfast.apps.keeping import open_kept
from holdfast.apps.morning import write_report
from holdfast.stores.jobs import JobState, NewFile, NewJob

HOSTILE = "<script src=//evil.example/x.js></script>' onload='x"


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.delenv("HOLDFAST_STORE", raising=False)
    kept = open_kept(tmp_path / "data", None)
    yield kept
    kept.store.close()


def png(color=0):
    held = io.BytesIO()
    Image.new("RGB", (400, 300), (color, 90, 160)).save(held, "PNG")
    return held.getvalue()


def ended(kept, name, state=JobState.DELIVERED, content=None, **outcome):
    kept.store.accept([NewJob({"graph": {}}, name=name)]).result()
    (claim,) = kept.store.claim("w").result()
    files = []
    if content is not None:
        digest = kept.blobs.put(content)
        files = [NewFile("1", f"{name[:20]}.png", digest, len(content), "image/png")]
    told = {"status": state.value, **outcome}
    summary = outcome.get("failure", {}).get("message", "")
    kept.store.settle(claim.job.id, claim.fence, state, told, files=files, summary=summary).result()
    return claim.job.id


def test_everything_is_on_one_page(kept, tmp_path):
    ended(
        kept, "dawn", content=png(), seconds=2.0, degradations=["tiled decoding"],
        attempts=[
            {"server": "gpu1", "error": "out of memory", "recovery": "tiled"}, {"server": "gpu2"},
        ],
    )  # fmt: skip
    dead = ended(
        kept, "noon", JobState.FAILED, failure={"kind": "rejected", "message": "steps is 0"}
    )
    kept.store.accept([NewJob({"graph": {}}, name="dusk")]).result()
    page = write_report(kept, None, tmp_path / "out").read_text()
    for words in (
        "dawn", "tiled decoding", "out of memory", "steps is 0", f"holdfast jobs retry {dead}",
        "Not done", "dusk", "data:image/jpeg;base64,",
    ):  # fmt: skip
        assert words in page
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["counts"]["delivered"] == 1
    assert report["left_out"] == 0
    assert [each["name"] for each in report["jobs"]] == ["dawn", "noon", "dusk"]
    assert (tmp_path / "out" / "contact-sheet.png").is_file()
    assert not list((tmp_path / "out").glob(".*"))


def test_hostile_names_are_text_and_nothing_is_loaded(kept, tmp_path):
    ended(kept, HOSTILE, content=png(), degradations=[HOSTILE], notes=[HOSTILE])
    ended(kept, HOSTILE, JobState.FAILED, failure={"message": HOSTILE})
    page = write_report(kept, None, tmp_path).read_text()
    assert "<script" not in page
    assert "default-src 'none'" in page
    elements = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: elements.append((tag, dict(attributes)))
    parser.feed(page)
    tags = {"html", "head", "meta", "title", "style", "body", "main"}
    tags |= {"h1", "h2", "p", "div", "b", "span", "article", "code", "img"}
    assert {tag for tag, _ in elements} <= tags
    assert {name for _, found in elements for name in found} <= {
        "lang", "charset", "name", "content", "http-equiv", "class", "alt", "src",
    }  # fmt: skip
    sources = [found["src"] for _, found in elements if "src" in found]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/jpeg;base64,")


def test_a_damaged_picture_is_named_and_stops_nothing(kept, tmp_path):
    ended(kept, "broken", content=b"no picture at all")
    ended(kept, "fine", content=png())
    page = write_report(kept, None, tmp_path).read_text()
    assert "broken.png cannot be shown" in page
    assert page.count("data:image/jpeg") == 1


def test_a_missing_picture_is_named_and_stops_nothing(kept, tmp_path):
    ended(kept, "gone", content=png())
    for digest in kept.blobs.all():
        kept.blobs.remove(digest)
    assert "gone.png cannot be shown" in write_report(kept, None, tmp_path).read_text()


def test_what_does_not_fit_is_said(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(morning, "JOBS", 3)
    monkeypatch.setattr(morning, "PICTURES", 2)
    monkeypatch.setattr(morning, "SHEET", 2)
    for number in range(4):
        ended(kept, f"shot{number}", content=png(number))
    page = write_report(kept, None, tmp_path).read_text()
    assert "1 more jobs are in the store" in page
    assert "The first 2 of 3 pictures are shown" in page
    assert page.count("data:image/jpeg") == 2
    assert json.loads((tmp_path / "report.json").read_text())["left_out"] == 1
    assert sorted(each.name for each in tmp_path.glob("*.png")) == [
        "contact-sheet-2.png", "contact-sheet.png",
    ]  # fmt: skip


def test_many_pictures_are_drawn_small(kept, tmp_path, monkeypatch):
    monkeypatch.setattr(morning, "MANY", 1)
    ended(kept, "one", content=png(1))
    large = len(write_report(kept, None, tmp_path).read_text())
    ended(kept, "two", content=png(2))
    assert len(write_report(kept, None, tmp_path).read_text()) < 1.9 * large
