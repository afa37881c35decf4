"""Several servers' `/object_info` as one, and kept while they are down."""

from __future__ import annotations

import asyncio
import copy

from holdfast.comfyui.address import Address
from holdfast.comfyui.gateway.merging import merged
from holdfast.comfyui.gateway.object_info import ObjectInfo
from holdfast.comfyui.server import Server, SilentError


def cls(*choices, **options):
    return {
        "input": {"required": {"name": [list(choices), options], "steps": ["INT", {"min": 1}]}},
        "output": ["MODEL"],
    }


def test_classes_of_all_and_values_of_all():
    one, two = {"A": cls("a", "b"), "X": cls("x")}, {"A": cls("b", "c"), "Y": cls("y")}
    kept = copy.deepcopy((one, two))
    union = merged([one, two])
    assert list(union) == ["A", "X", "Y"]
    assert union["A"]["input"]["required"]["name"] == [["a", "b", "c"], {}]
    assert union["A"]["input"]["required"]["steps"] == ["INT", {"min": 1}]
    assert (one, two) == kept


def test_lists_written_the_new_way_are_joined_too():
    def new(*options):
        return {
            "A": {"input": {"optional": {"n": ["COMBO", {"options": list(options), "tip": 1}]}}}
        }

    spec = merged([new(1, 2), new(2, 3)])["A"]["input"]["optional"]["n"]
    assert spec == ["COMBO", {"options": [1, 2, 3], "tip": 1}]


def test_uploads_are_offered_where_files_are_chosen_and_nowhere_else():
    info = {"L": cls("a.png", image_upload=True), "M": cls("m.safetensors")}
    kept = copy.deepcopy(info)
    union = merged([info], ["mine.png", "a.png"])
    assert union["L"]["input"]["required"]["name"][0] == ["a.png", "mine.png"]
    assert union["M"] == info["M"]
    assert info == kept


def test_what_is_shaped_otherwise_is_left_as_it_is():
    odd = [
        {"A": 5, "B": {"input": []}, "C": {"input": {"required": {"n": []}}}},
        {"A": {}, "B": {}},
    ]
    assert merged([*odd, {"C": {"input": {"required": {"n": [[1], {}]}}}}], ["u"]) == odd[0]


class Telling(Server):
    """A server that answers what the test says, after a while."""

    def __init__(self, name, info):
        super().__init__(Address.parse(name), None)
        self.info = info
        self.asked = 0

    async def object_info(self, class_name=None):
        self.asked += 1
        await asyncio.sleep(0.01)
        if self.info is None:
            raise SilentError("down")
        return self.info


async def test_many_who_want_to_know_ask_once_and_the_last_answer_outlives_the_server(tmp_path):
    server = Telling("http://one:1", {"A": cls("a")})
    kept = ObjectInfo(lambda: [server], tmp_path)
    assert kept.catalogs() == [None]
    await asyncio.gather(*(kept.refresh() for _ in range(20)))
    assert server.asked == 1
    assert list(kept.catalogs()[0]) == ["A"]
    assert await kept.one("A") == {"A": cls("a")}
    assert await kept.one("B") == {}
    await kept.close()
    server.info = None
    again = ObjectInfo(lambda: [server], tmp_path)
    await again.start()
    try:
        await again.refresh()
        assert await again.text() == await kept.text()
        assert list(again.catalogs()[0]) == ["A"]
    finally:
        await again.close()


async def test_a_damaged_file_is_as_none(tmp_path):
    server = Telling("http://one:1", {"A": cls("a")})
    kept = ObjectInfo(lambda: [server], tmp_path)
    await kept.refresh()
    (path,) = tmp_path.iterdir()
    for content in (b"", b"[]", b"{" * 100_000):
        path.write_bytes(content)
        server.info = None
        again = ObjectInfo(lambda: [server], tmp_path)
        await again.start()
        await again.close()
        assert await again.text() is None or content == b"{}"
