"""Faults: what may be written, what is refused, and when they strike."""

import pytest

from holdfast.comfyui.standin import Fault, load_faults
from holdfast.comfyui.standin.script import FaultScript, Point
from holdfast.errors import BadInputError


def node(job, cls="KSampler", **more):
    return Point("node", now=more.pop("now", 0.0), job=job, node=cls, **more)


def kinds(struck):
    return [fault.kind for fault in struck]


def test_reads_tables_from_text():
    text = """
        [[fault]]
        kind = "die"
        job = 2
        restart = 3

        [[fault]]
        kind = "http_error"
        status = 503
        path = "/prompt"
        retry_after = 1.5
    """
    assert load_faults(text) == (
        Fault("die", job=2, restart=3),
        Fault("http_error", status=503, path="/prompt", retry_after=1.5),
    )


def test_reads_a_file(tmp_path):
    path = tmp_path / "bad-day.toml"
    path.write_text('[[fault]]\nkind = "block"\n')
    assert load_faults(path) == load_faults(str(path)) == (Fault("block"),)


def test_no_faults_is_fine():
    assert load_faults("") == ()


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("[[fault]]\nkind = 'explode'", ["fault 1", "kind", "'explode'", "die"]),
        ("[[fault]]\njob = 1", ["fault 1", "kind is missing"]),
        ("[[fault]]\nkind = 'die'\nwhen = 1", ["'when'", "job"]),
        ("[[fault]]\nkind = 'die'\njob = 'two'", ["job", "'two'", "whole number"]),
        ("[[fault]]\nkind = 'die'\njob = true", ["job", "True", "whole number"]),
        ("[[fault]]\nkind = 'die'\njob = 0", ["job", "0", "1 or more"]),
        ("[[fault]]\nkind = 'die'\n[[fault]]\nkind = 'freeze'", ["fault 2", "seconds is missing"]),
        ("[[fault]]\nkind = 'http_error'\nstatus = 404\npost = 1", ["status", "404", "503"]),
        ("[[fault]]\nkind = 'http_error'", ["post and path"]),
        ("[[fault]]\nkind = 'slow'", ["seconds and bytes_per_second"]),
        ("[[fault]]\nkind = 'raise'\npost = 1", ["post", "'raise'", "job"]),
        ("[[fault]]\nkind = 'die'\npost = 1\njob = 1", ["job", "post"]),
        ("[[fault]]\nkind = 'missing_model'", ["model is missing"]),
        ("[fault]\nkind = 'die'", ["[[fault]]"]),
        ("fault = [1]", ["fault 1", "[[fault]]"]),
        ("[[flaw]]\nkind = 'die'", ["'flaw'"]),
        ("[[fault]", ["TOML"]),
        ("/no/such/file.toml", ["/no/such/file.toml"]),
    ],
)
def test_says_what_is_wrong_and_what_is_right(text, parts):
    with pytest.raises(BadInputError) as caught:
        load_faults(text)
    for part in parts:
        assert part in str(caught.value)


def test_strikes_the_nth_job_once():
    script = FaultScript((Fault("raise", job=2),))
    assert kinds(script.happens(node(1))) == []
    assert kinds(script.happens(node(2))) == ["raise"]
    assert kinds(script.happens(node(2))) == []
    assert kinds(script.happens(node(3))) == []


def test_times_counts_jobs_and_zero_is_always():
    twice = FaultScript((Fault("raise", job=2, times=2),))
    assert [len(twice.happens(node(job))) for job in range(1, 6)] == [0, 1, 1, 0, 0]
    always = FaultScript((Fault("raise", times=0),))
    assert [len(always.happens(node(job))) for job in range(1, 6)] == [1] * 5


def test_all_triggers_must_hold():
    script = FaultScript((Fault("die", node="VAEDecode", step=3, after=1.0),))
    at = {"place": "step", "job": 1, "node": "VAEDecode"}
    assert not script.happens(Point(**at, now=2.0, step=2))
    assert not script.happens(Point(**at, now=0.5, step=3))
    assert not script.happens(Point(**{**at, "node": "KSampler"}, now=2.0, step=3))
    assert kinds(script.happens(Point(**at, now=2.0, step=3))) == ["die"]
    assert [(fired.at, fired.kind, fired.what) for fired in script.fired] == [
        (2.0, "die", "job 1, node VAEDecode, step 3")
    ]


def test_out_of_memory_weighs_pixels_and_spares_light_nodes():
    script = FaultScript((Fault("out_of_memory", above=1000, times=0),))
    assert not script.happens(node(1, "EmptyLatentImage", pixels=2000))
    assert not script.happens(node(1, "KSampler", pixels=1000))
    assert kinds(script.happens(node(1, "KSampler", pixels=1001))) == ["out_of_memory"]
    named = FaultScript((Fault("out_of_memory", node="ImageScale"),))
    assert kinds(named.happens(node(1, "ImageScale"))) == ["out_of_memory"]


def test_requests_are_chosen_by_post_or_path():
    script = FaultScript(
        (
            Fault("lost_response"),
            Fault("http_error", path="/view*", times=2),
            Fault("freeze", post=2, seconds=1),
        )
    )

    def ask(path, post=0):
        return kinds(script.happens(Point("request", now=0.0, path=path, post=post)))

    assert ask("/queue") == []
    assert ask("/view") == ["http_error"]
    assert ask("/prompt", 1) == ["lost_response"]
    assert ask("/prompt", 2) == ["freeze"]
    assert [ask("/view"), ask("/view")] == [["http_error"], []]


def test_the_clock_alone_rings_for_whole_process_faults_only():
    script = FaultScript(
        (Fault("die", after=2.0), Fault("freeze", after=1.0, seconds=1), Fault("raise", after=3.0))
    )
    assert script.alarm() == (1.0, 2.0)
    assert kinds(script.happens(Point("clock", now=1.0))) == ["freeze"]
    assert kinds(script.happens(Point("clock", now=2.0))) == ["die"]
    assert kinds(script.happens(node(1, now=2.9))) == []
    assert kinds(script.happens(node(1, now=3.0))) == ["raise"]


def test_standing_faults_hold_from_and_until():
    script = FaultScript(
        (
            Fault("missing_model", model="always"),
            Fault("missing_model", model="later", after=5.0),
            Fault("missing_model", model="second", post=2, times=1),
            Fault("missing_node", node="KSampler"),
        )
    )
    assert script.standing("missing_model", 0.0) == {"always"}
    script.next_post()
    script.next_post()
    assert script.standing("missing_model", 6.0) == {"always", "later", "second"}
    script.next_post()
    assert script.standing("missing_model", 6.0) == {"always", "later"}
    assert script.standing("missing_node", 0.0) == {"KSampler"}
    assert [fired.what for fired in script.fired] == ["always", "later", "second", "KSampler"]


def test_files_count_one_by_one():
    script = FaultScript((Fault("missing_file", times=2), Fault("disk_full", job=2)))
    after = Point("after_save", now=0.0, job=1, node="SaveImage", file="a.png")
    assert [len(script.happens(after)) for _ in range(3)] == [1, 1, 0]
    assert not script.happens(Point("before_save", now=0.0, job=1))
    assert script.happens(Point("before_save", now=0.0, job=2))
