"""A picture that a node sends over the socket is written nowhere else: none of them may be lost."""

from __future__ import annotations

import pytest

from holdfast.comfyui.gateway import frames
from holdfast.comfyui.gateway.outbox import Outbox
from holdfast.comfyui.gateway.replay import Replay
from holdfast.comfyui.gateway.saying import Said, Sort, To
from holdfast.comfyui.gateway.telling import Telling

ME = ("ann", "c")


def sent(image: bytes, image_type: str = "image/png") -> bytes:
    return frames.described_preview(
        image, {"node_id": "9", "prompt_id": "p", "image_type": image_type}
    )


def told(*raws: bytes) -> list[Said]:
    telling = Telling("p", addressed=True)
    telling.begin(0)
    step = frames.event("progress", {"prompt_id": "p", "node": "9", "value": 1, "max": 9})
    return [said for raw in raws for each in (raw, step) for said in telling.hear("a", each, 0)]


@pytest.mark.parametrize("to", [To.DESCRIBED, To.PLAIN])
def test_pictures_are_told_apart_from_previews_and_from_one_another(to):
    said = [each for each in told(sent(b"one"), sent(b"two")) if each.to is to]
    assert [each.sort for each in said] == [Sort.PICTURE, Sort.PICTURE]
    assert len({each.key for each in said}) == 2
    (preview,) = [each for each in told(sent(b"x", "image/jpeg")) if each.to is to]
    assert preview.sort is Sort.PREVIEW


def test_a_client_that_is_behind_still_gets_each_of_them():
    outbox = Outbox()
    pictures = [
        each for each in told(*(sent(b"%d" % n) for n in range(200))) if each.to is To.PLAIN
    ]
    for each in pictures:
        assert outbox.put(each, 0)
    assert len(outbox) == 200


def test_a_client_that_was_away_gets_each_of_them_and_then_the_end():
    replay = Replay()
    for each in told(sent(b"one"), sent(b"two")):
        if each.to is To.DESCRIBED:
            replay.keep(ME, each, 0)
    replay.keep(ME, Said("{}", Sort.END, "p"), 1)
    replay.settle(ME, "p", 1)
    sorts = [kept.said.sort for kept in replay.missed(ME, 2)]
    assert sorts == [Sort.PICTURE, Sort.PICTURE, Sort.END]
