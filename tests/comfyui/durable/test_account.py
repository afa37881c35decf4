from __future__ import annotations

from holdfast.comfyui import events
from holdfast.comfyui.durable import account
from holdfast.comfyui.failures import Failure, FailureKind
from holdfast.comfyui.result import Attempt, OutputFile, RunResult
from holdfast.stores.jobs import FILE_KEY


def file(name: str, node: str = "7", **fields) -> OutputFile:
    return OutputFile(
        filename=f"job_{node}.png",
        node_id=node,
        server_name=name,
        size=3,
        sha256="ab" * 32,
        media_type="image/png",
        **fields,
    )


def result(*files: OutputFile, **fields) -> RunResult:
    attempts = (Attempt(1, "http://gpu1", 2.0, made=len(files)),)
    return RunResult("id", "http://gpu1", files, attempts, 2.0, **fields)


def test_files_are_marked_where_the_store_is_to_put_their_names():
    raw = {
        "7": {
            "images": [{"filename": "a_00001_.png", "subfolder": "", "type": "output"}],
            "text": ["hello"],
        },
        "9": {"images": [{"filename": "given.png", "subfolder": "", "type": "input"}]},
    }
    outcome, files, _words = account.delivered(result(file("a_00001_.png"), outputs=raw))
    assert outcome["outputs"]["7"] == {"images": [{FILE_KEY: 0}], "text": ["hello"]}
    assert outcome["outputs"]["9"] == raw["9"]
    assert files[0].filename == "a_00001_.png"


def test_what_a_node_says_of_a_video_besides_its_name_is_kept():
    raw = {
        "3": {
            "gifs": [
                {"filename": "v.mp4", "subfolder": "", "type": "output", "frame_rate": 8.0,
                 "fullpath": "/home/ann/v.mp4"}
            ]
        }
    }  # fmt: skip
    outcome, _files, _words = account.delivered(
        result(file("v.mp4", "3", list_name="gifs"), outputs=raw)
    )
    assert outcome["outputs"]["3"]["gifs"] == [{FILE_KEY: 0, "frame_rate": 8.0}]


def test_a_batch_that_was_made_in_parts_lists_all_its_files():
    raw = {"7": {"images": [{"filename": "c.png", "subfolder": "", "type": "output"}]}}
    parts = [file(name) for name in ("a.png", "b.png", "c.png")]
    outcome, files, _words = account.delivered(result(*parts, outputs=raw))
    assert [each[FILE_KEY] for each in outcome["outputs"]["7"]["images"]] == [0, 1, 2]
    assert [each.filename for each in files] == ["a.png", "b.png", "c.png"]


def test_names_and_folders_that_servers_make_up_do_not_lead_anywhere():
    evil = file("../../etc/passwd.png", subfolder="../../..")
    _outcome, files, _words = account.delivered(result(evil))
    assert files[0].filename == "job_7.png"
    assert files[0].subfolder == ""


def test_what_was_changed_is_in_the_summary():
    _outcome, _files, words = account.delivered(
        result(file("a.png"), degradations=("1024 px became 768 px",))
    )
    assert "1024 px became 768 px" in words


def test_the_story_tells_of_attempts_and_what_was_done_about_them():
    failure = Failure(FailureKind.SERVER_DIED, "it went away", "http://gpu1")
    event = events.AttemptFailed("job", "http://gpu1", 1, failure, "another server", final=False)
    kind, data = account.line_of(event)
    assert kind == "failed_attempt"
    assert (data["kind"], data["recovery"]) == ("server_died", "another server")
    assert account.line_of(events.JobStarted("job")) is None


def test_a_name_whose_end_no_database_keeps_is_made_one_that_it_does():
    for end in ("\ud800", "x" * 5_000, "p\nng"):
        _outcome, files, _words = account.delivered(result(file(f"a.{end}")))
        name = files[0].filename
        assert len(name) <= 161
        assert name.isprintable()
        assert name.encode()
