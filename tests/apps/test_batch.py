"""From a sweep to jobs: all of it or nothing, each under its own name, each key once."""

from __future__ import annotations

import json

import pytest

from holdfast.apps import batch
from holdfast.apps.batch import Wishes, accept
from holdfast.apps.keeping import Kept, open_kept
from holdfast.errors import BadInputError
from holdfast.stores.jobs import JobState, JobStore, accepting
from tests.comfyui.graphs import node, painting, picture


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.delenv("HOLDFAST_STORE", raising=False)
    kept = open_kept(tmp_path / "data", None)
    yield kept
    kept.store.close()


@pytest.fixture
def workflow(tmp_path):
    path = tmp_path / "painting.json"
    path.write_text(json.dumps(painting().to_api()))
    return str(path)


def sweep(tmp_path, *rows):
    path = tmp_path / "shots.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def test_a_line_sets_what_the_command_line_set_for_all(kept, workflow, tmp_path):
    rows = sweep(
        tmp_path,
        {"name": "dawn", "seed": 7, "priority": 5},
        {"2.text": "a cat", "count": 2, "deadline": 60},
    )
    made = accept(
        kept, Wishes([workflow], ["seed=1", "steps=2"], sweep=rows, priority=1, user="ann")
    )
    told = [(each.name, each.seed, each.priority, each.user) for each in made.jobs]
    assert told == [
        ("dawn", "7", 5, "ann"), ("painting_001", "1", 1, "ann"), ("painting_002", "2", 1, "ann"),
    ]  # fmt: skip
    assert made.jobs[0].deadline is None
    assert made.jobs[1].deadline == pytest.approx(made.jobs[1].created + 60, abs=5)
    body = kept.store.body(made.jobs[1].id)
    assert body["graph"]["2"]["inputs"]["text"] == "a cat"
    assert {body["graph"]["5"]["inputs"]["steps"]} == {2}
    assert {each.order for each in made.jobs} == {made.order}


def test_a_file_is_kept_once_and_named_by_its_content(kept, tmp_path):
    graph = {
        "1": node("LoadImage", image="x.png"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="x"),
    }
    (tmp_path / "w.json").write_text(json.dumps(graph))
    (tmp_path / "photo.png").write_bytes(b"a photo")
    rows = sweep(tmp_path, *[{"workflow": "w.json", "1.image": "@photo.png"}] * 3)
    made = accept(kept, Wishes([], sweep=rows))
    (digest,) = kept.blobs.all()
    assert [kept.store.body(each.id)["files"] for each in made.jobs] == [{"1.image": digest}] * 3
    assert [each.name for each in made.jobs] == ["w", "w-2", "w-3"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"nonsense": 1}, "line 2, for"),
        ({"9.seed": 1}, "there is no node '9'"),
        ({"2.image": "@none.png"}, "there is no file"),
        ({"workflow": "none.json"}, "there is no file"),
    ],
)
def test_a_wrong_line_means_that_nothing_is_accepted(kept, workflow, tmp_path, row, words):
    with pytest.raises(BadInputError, match=words):
        accept(kept, Wishes([workflow], sweep=sweep(tmp_path, {"seed": 1}, row)))
    assert kept.store.jobs() == []


def test_without_a_workflow_the_line_is_named(kept, tmp_path):
    with pytest.raises(BadInputError, match=r"line 1: no workflow is given"):
        accept(kept, Wishes([], sweep=sweep(tmp_path, {"seed": 1})))


def test_a_queue_that_is_full_takes_none_and_touches_no_earlier_job(
    tmp_path, workflow, monkeypatch, kept
):
    monkeypatch.setattr(accepting, "AT_ONCE", 2)
    small = Kept(JobStore(tmp_path / "small.db", max_queued=5), kept.blobs, tmp_path)
    before = accept(small, Wishes([workflow], count=2, key="night"))
    with pytest.raises(BadInputError, match="nothing was accepted"):
        accept(small, Wishes([workflow], count=9, key="night"))
    states = {each.id: each.state for each in small.store.jobs()}
    assert [states.pop(each.id) for each in before.jobs] == [JobState.QUEUED] * 2
    assert not states
    assert len(accept(small, Wishes([workflow], count=3, key="other")).jobs) == 3
    small.store.close()


def test_nothing_of_a_sweep_can_be_begun_before_all_of_it_is_accepted(
    kept, workflow, tmp_path, monkeypatch
):
    monkeypatch.setattr(accepting, "AT_ONCE", 2)
    seen, plain = [], accepting.accept

    def looking(*given):
        made = plain(*given)
        seen.append(len(kept.store.jobs()))  # what another process would find, were we killed now
        return made

    monkeypatch.setattr(accepting, "accept", looking)
    assert len(accept(kept, Wishes([workflow], count=7)).jobs) == 7
    assert seen == [0, 0, 0, 0]
    assert len(kept.store.jobs()) == 7


def test_a_sweep_that_has_grown_adds_only_what_is_new(kept, workflow, tmp_path):
    one = {"key": "a", "seed": 1}
    first = accept(kept, Wishes([workflow], sweep=sweep(tmp_path, one)))
    again = accept(kept, Wishes([workflow], sweep=sweep(tmp_path, one)))
    assert (again.order, again.mixed) == (first.order, False)
    more = accept(kept, Wishes([workflow], sweep=sweep(tmp_path, one, {"key": "b", "seed": 2})))
    assert more.mixed
    assert more.jobs[0].id == first.jobs[0].id
    assert more.jobs[1].order != first.order
    assert len(kept.store.jobs()) == 2


def test_thousands_of_lines_without_a_name_are_quickly_named(kept, tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(picture().to_api()))
    made = accept(kept, Wishes([str(path)], sweep=sweep(tmp_path, *[{}] * 3_000)))
    names = [each.name for each in made.jobs]
    assert (names[0], names[1], names[-1]) == ("p", "p-2", "p-3000")
    assert len(set(names)) == 3_000


def test_more_jobs_than_an_order_takes_are_refused_before_any_is_kept(kept, workflow, monkeypatch):
    monkeypatch.setattr(batch, "MOST", 3)
    with pytest.raises(BadInputError, match="more than 3 jobs"):
        accept(kept, Wishes([workflow], count=4))
    assert kept.store.jobs() == []
