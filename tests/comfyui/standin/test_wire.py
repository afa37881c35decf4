"""What goes over a socket, byte for byte."""

import io
import json

from PIL import Image

from holdfast.comfyui.standin import wire


def test_text_message():
    assert wire.message("status", {"a": 1}) == '{"type": "status", "data": {"a": 1}}'


def test_preview_frame():
    assert wire.preview(b"\xff\xd8") == bytes.fromhex("0000000100000001ffd8")
    assert wire.preview(b"p", wire.PNG)[4:8] == bytes.fromhex("00000002")


def test_text_frame():
    assert wire.text("12", "hé") == bytes.fromhex("00000003 00000002") + b"12" + "hé".encode()


def test_preview_with_metadata():
    frame = wire.preview_with_metadata(b"IMG", "7", "p1")
    length = int.from_bytes(frame[4:8], "big")
    assert frame[:4] == bytes.fromhex("00000004")
    assert frame[8 + length :] == b"IMG"
    assert list(json.loads(frame[8 : 8 + length]).items()) == [
        ("node_id", "7"),
        ("prompt_id", "p1"),
        ("display_node_id", "7"),
        ("parent_node_id", None),
        ("real_node_id", "7"),
        ("image_type", "image/jpeg"),
    ]


def test_previews_are_scaled_to_512():
    encoded = wire.encode_preview(Image.new("RGB", (64, 32)))
    with Image.open(io.BytesIO(encoded)) as picture:
        assert (picture.format, picture.size) == ("JPEG", (512, 256))


def test_progress_is_told_in_full_each_time():
    board = wire.ProgressBoard("p")
    assert board.start("1")["nodes"]["1"] == {
        "value": 0.0,
        "max": 1.0,
        "state": "running",
        "node_id": "1",
        "prompt_id": "p",
        "display_node_id": "1",
        "parent_node_id": None,
        "real_node_id": "1",
    }
    board.update("1", 2, 4)
    told = board.finish("1")
    assert (told["nodes"]["1"]["value"], told["nodes"]["1"]["state"]) == (4, "finished")
    assert list(board.start("2")["nodes"]) == ["1", "2"]
    cached = board.finish("3")["nodes"]["3"]
    assert (cached["value"], cached["max"]) == (1, 1)
    assert told["nodes"].keys() == {"1"}


def test_a_result_is_sent_whole_and_without_loss():
    image = Image.effect_noise((700, 20), 90).convert("RGB")
    shown = wire.encode_shown(image, whole=True)
    assert (shown.kind, shown.mimetype) == (wire.PNG, "image/png")
    assert Image.open(io.BytesIO(shown.content)).tobytes() == image.tobytes()
    assert wire.encode_shown(image, whole=False).mimetype == "image/jpeg"
