"""Saved workflows and settings: ComfyUI's own interface, each user's own, kept by the gateway."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import quote

import pytest
from aiohttp import web

from holdfast.stores.jobs import JobStore, userdata
from tests.comfyui.gateway.http_house import house
from tests.comfyui.gateway.test_passage import upstream

ANN, BOB = {"x-user": "ann:view,run"}, {"x-user": "bob:view,run"}


@pytest.fixture
async def home(tmp_path):
    # Nothing listens there: what is saved does not need a server.
    async with house(tmp_path, ["http://127.0.0.1:9"]) as made:
        yield made


async def test_settings_are_kept_and_changed_one_by_one(home):
    assert (await home.client.get("/settings")).json() == {}
    assert (await home.client.get("/settings/Comfy.Locale")).json() is None
    said = await home.client.post("/api/settings", json={"Comfy.Locale": "de", "a.b": [1]})
    assert (said.status_code, said.content) == (200, b"")
    await home.client.post("/settings/Comfy.Locale", json="fr")
    assert (await home.client.get("/api/settings")).json() == {"Comfy.Locale": "fr", "a.b": [1]}
    assert (await home.client.get("/api/settings/a.b")).json() == [1]
    stored = await home.client.get("/userdata/comfy.settings.json")
    assert stored.json() == {"Comfy.Locale": "fr", "a.b": [1]}


@pytest.mark.parametrize(
    "raw", [b"", b"[1]", b"NaN", b"{", b'{"a": 1e999}', b'{"a": "\\ud800"}', b"[" * 99_999]
)
async def test_settings_that_are_none_are_refused_and_change_nothing(home, raw):
    await home.client.post("/settings", json={"a": 1})
    said = await home.client.post("/settings", content=raw)
    assert said.status_code == 400
    assert (await home.client.get("/settings")).json() == {"a": 1}


async def test_deep_settings_do_not_grow_a_thousandfold(home):
    deep = json.dumps({"a": [0] * 50_000})
    for _ in range(400):
        deep = f"[{deep}]"
    said = await home.client.post("/settings/a", content=deep.encode())
    assert said.status_code == 200
    (info,) = (await home.client.get("/userdata?dir=.&full_info=true")).json()
    assert info["size"] < 2 * len(deep)


async def test_settings_are_not_more_than_can_be_read_each_time_that_one_is_changed(
    home, monkeypatch
):
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_SETTINGS", 100)
    assert (await home.client.post("/settings/a", json="x" * 50)).status_code == 200
    assert (await home.client.post("/settings/b", json="x" * 50)).status_code == 413
    await home.client.post("/userdata/big", content=b"x" * 101)
    for name in ("comfy.settings.json", "big/move/comfy.settings.json"):
        said = await home.client.post(f"/userdata/{name}", content=b"x" * 101)
        assert said.status_code == 413
    assert (await home.client.get("/settings")).json() == {"a": "x" * 50}


@pytest.mark.parametrize(
    ("saved", "told"),
    [
        (b'{"a": NaN, "b": 1}', b'{"a": null, "b": 1}'),
        (b'{"a": 1e999}', b'{"a": null}'),
        (b'{"a": ' + b"[" * 970 + b"]" * 970 + b"}", None),
    ],
)
async def test_settings_that_were_saved_as_a_file_are_told_as_json(home, saved, told):
    await home.client.post("/userdata/comfy.settings.json", content=saved)
    said = await home.client.get("/settings")
    assert said.status_code == 200
    assert told is None or said.content == told
    assert (await home.client.get("/settings/a")).status_code == 200
    assert (await home.client.post("/settings/c", json=1)).status_code in {200, 400}


async def test_a_file_may_be_called_as_an_address(home):
    name = "data:\u20ac%2Fx,y"
    assert (await home.client.post(f"/userdata/{name}", content=b"x")).status_code == 200
    said = await home.client.get(f"/userdata/{name}")
    assert (said.content, said.headers["content-type"]) == (b"x", "application/octet-stream")


async def test_a_workflow_is_saved_found_moved_and_removed(home):
    client = home.client
    made = await client.post("/api/userdata/workflows%2Fmy%20one.json", content=b"{}")
    assert made.json() == "workflows/my one.json"
    again = await client.post("/userdata/workflows%2Fmy%20one.json?overwrite=false", content=b"x")
    assert (again.status_code, again.text) == (409, "File already exists")
    full = await client.post("/userdata/workflows%2Fb%2Fc.json?full_info=true", content=b"[1]")
    info = full.json()
    assert (info["path"], info["size"]) == ("workflows/b/c.json", 3)
    assert info["created"] <= info["modified"]
    assert (await client.get("/userdata?dir=workflows")).json() == ["my one.json"]
    deep = (await client.get("/userdata?dir=workflows&recurse=true&split=true")).json()
    assert sorted(deep) == [["b/c.json", "b", "c.json"], ["my one.json", "my one.json"]]
    told = (await client.get("/userdata?dir=workflows&recurse=true&full_info=true")).json()
    assert {each["path"] for each in told} == {"b/c.json", "my one.json"}
    tree = (await client.get("/v2/userdata?path=workflows")).json()
    assert [(each["type"], each["path"]) for each in tree] == [
        ("directory", "workflows/b"),
        ("file", "workflows/b/c.json"),
        ("file", "workflows/my one.json"),
    ]
    moved = await client.post("/userdata/workflows%2Fmy%20one.json/move/workflows%2Fd.json")
    assert moved.json() == "workflows/d.json"
    taken = await client.post(
        "/userdata/workflows%2Fd.json/move/workflows%2Fb%2Fc.json?overwrite=false"
    )
    assert taken.status_code == 409
    assert (await client.get("/userdata/workflows%2Fd.json")).content == b"{}"
    assert (await client.delete("/userdata/workflows%2Fd.json")).status_code == 204
    assert (await client.delete("/userdata/workflows%2Fd.json")).status_code == 404
    assert (await client.get("/userdata/workflows%2Fd.json")).status_code == 404
    assert (await client.post("/userdata/none/move/some")).status_code == 404


async def test_what_is_not_there_is_answered_as_a_server_does(home):
    for path, status in (
        ("/userdata", 400), ("/userdata?dir=workflows", 404), ("/userdata?dir=..", 403),
        ("/v2/userdata", 200), ("/v2/userdata?path=x", 404), ("/v2/userdata?path=../x", 400),
        ("/userdata/x.json", 404), ("/userdata/a/b.json", 404),
    ):  # fmt: skip
        assert (await home.client.get(path)).status_code == status, path
    users = (await home.client.get("/users")).json()
    assert users == {"storage": "server", "migrated": False}
    assert (await home.client.post("/users", json={"username": "eve"})).status_code == 400


async def test_nobody_sees_or_changes_what_another_has_saved(home):
    await home.client.post("/userdata/workflows%2Fa.json", content=b"ann", headers=ANN)
    await home.client.post("/settings", json={"a": "ann"}, headers=ANN)
    await home.client.post("/userdata/workflows%2Fa.json", content=b"bob", headers=BOB)
    claims = BOB | {"comfy-user": "ann"}
    assert (await home.client.get("/userdata/workflows%2Fa.json", headers=claims)).text == "bob"
    assert (await home.client.get("/settings", headers=claims)).json() == {}
    await home.client.delete("/userdata/workflows%2Fa.json", headers=claims)
    for way in (
        "..%2Fann%2Fworkflows%2Fa.json",
        "..%252Fann",
        "%2Fann%2Fa.json",
        "workflows%2F..%2F..%2Fann",
    ):
        said = await home.client.get(f"/userdata/{way}", headers=BOB)
        assert said.status_code in {403, 404}
    assert (await home.client.get("/userdata/workflows%2Fa.json", headers=ANN)).text == "ann"
    looker = {"x-user": "ann:view"}
    for method, path in (
        ("POST", "/userdata/x"),
        ("DELETE", "/userdata/x"),
        ("POST", "/settings/x"),
    ):
        assert (await home.client.request(method, path, headers=looker)).status_code == 403


@pytest.mark.parametrize(
    "name", ["%00", "a%5Cb", "x" * 300, "d%2F" * 250 + "x", "%2E%2E%2F%2E%2E%2Fa"]
)
async def test_names_no_file_can_have_are_refused(home, name):
    said = await home.client.post(f"/userdata/{name}", content=b"x")
    assert said.status_code in {400, 403}
    assert (await home.client.get("/v2/userdata")).json() == []


async def test_a_name_is_not_both_a_file_and_a_folder(home):
    await home.client.post("/userdata/a%2Fb", content=b"x")
    for name in ("a", "a%2Fb%2Fc"):
        assert (await home.client.post(f"/userdata/{name}", content=b"x")).status_code == 400
    await home.client.post("/userdata/c", content=b"x")
    assert (await home.client.post("/userdata/c/move/a")).status_code == 400


async def test_how_much_one_may_save_is_bounded(home, monkeypatch):
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_BYTES", 10)
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_TOTAL", 25)
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_FILES", 3)
    codes = [
        (await home.client.post(f"/userdata/{name}", content=content)).status_code
        for name, content in (
            ("a", b"x" * 11), ("a", b"x" * 10), ("b", b"x" * 10), ("c", b"x" * 6), ("c", b"x" * 5),
            ("d", b""), ("a", b"y" * 10),
        )
    ]  # fmt: skip
    assert codes == [413, 200, 200, 413, 200, 413, 200]


async def test_saved_pages_are_not_run(home):
    await home.client.post("/userdata/evil.html", content=b"<script>1</script>")
    said = await home.client.get("/api/userdata/evil.html")
    assert said.headers["content-disposition"] == "attachment"
    assert "sandbox" in said.headers["content-security-policy"]


async def test_all_is_there_after_a_restart(tmp_path):
    async with house(tmp_path, ["http://127.0.0.1:9"]) as home:
        await home.client.post("/userdata/workflows%2Fa.json", content=b"1")
        await home.client.post("/settings", json={"a": 1})
    async with house(tmp_path, ["http://127.0.0.1:9"]) as home:
        assert (await home.client.get("/userdata?dir=workflows")).json() == ["a.json"]
        assert (await home.client.get("/settings")).json() == {"a": 1}


async def test_bookmarks_are_no_workflow_and_are_kept(home):
    await home.client.post("/userdata/workflows%2F.index.json", content=b"{}")
    await home.client.post("/userdata/workflows%2F.hidden%2Fa.json", content=b"{}")
    await home.client.post("/userdata/workflows%2Fa.json", content=b"{}")
    listed = (await home.client.get("/userdata?dir=workflows&recurse=true")).json()
    assert listed == ["a.json"]
    assert (await home.client.get("/userdata/workflows%2F.index.json")).content == b"{}"
    tree = (await home.client.get("/v2/userdata?path=workflows")).json()
    assert "workflows/.index.json" in {each["path"] for each in tree}


@pytest.mark.parametrize(
    "name", ["夜\u3000景.json", "a\u00a0b.json", "\U0001f468\u200d\U0001f469.json"]
)
async def test_names_of_all_scripts_are_names(home, name):
    path = quote(f"workflows/{name}", safe="")
    assert (await home.client.post(f"/userdata/{path}", content=b"x")).status_code == 200
    assert (await home.client.get(f"/userdata/{path}")).content == b"x"
    assert (await home.client.get("/userdata?dir=workflows")).json() == [name]


async def test_settings_that_change_at_once_are_all_kept(home):
    names = [f"a.{number}" for number in range(20)]
    await asyncio.gather(*(home.client.post(f"/settings/{name}", json=1) for name in names))
    assert (await home.client.get("/settings")).json() == dict.fromkeys(names, 1)


class Before:
    """A server with something saved on it."""

    def __init__(self):
        self.files = {"workflows/old one%.json": b"old", "comfy.settings.json": b'{"s": 1}'}
        self.broken, self.new = 0, False
        self.failing = ""
        self.asked = 0

    async def answer(self, request):
        self.asked += request.path.startswith(("/userdata", "/v2", "/settings"))
        name = request.path.removeprefix("/userdata/")
        if self.broken or name == self.failing:
            return web.Response(status=self.broken or 503, text="<html>", content_type="text/html")
        folder = {"path": "workflows", "type": "directory"}
        listed = [folder, *({"path": path, "type": "file"} for path in self.files)]
        known = {
            "/userdata": [*self.files, "../../etc/passwd", 5],
            "/settings": json.loads(self.files["comfy.settings.json"]),
            **({"/v2/userdata": listed} if self.new else {}),
        }
        if request.path in known:
            return web.json_response(known[request.path])
        found = self.files.get(name)
        return web.Response(status=404) if found is None else web.Response(body=found)


async def test_what_a_server_had_before_is_taken_over_once_and_stays_when_it_goes(tmp_path):
    old = Before()
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata?dir=workflows")).json() == ["old one%.json"]
        assert (await home.client.get("/settings")).json() == {"s": 1}
        await home.client.delete("/userdata/workflows%2Fold%20one%2525.json")
        assert (await home.client.get("/userdata?dir=workflows")).status_code == 404
        asked = old.asked
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata?dir=workflows")).status_code == 404
    assert old.asked == asked


async def test_bookmarks_are_taken_over_too(tmp_path):
    old = Before()
    old.new = True
    old.files["workflows/.index.json"] = b"{}"
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata/workflows%2F.index.json")).content == b"{}"


async def test_what_cannot_be_taken_over_is_told(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_TOTAL", 12)
    old = Before()
    old.files["workflows/big.json"] = b"x" * 10
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        listed = (await home.client.get("/userdata?dir=workflows")).json()
    assert listed == ["old one%.json"]
    assert "big.json" in caplog.text


async def test_a_file_that_fails_for_now_is_taken_over_later(tmp_path):
    old = Before()
    old.failing = "workflows/old one%.json"
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata?dir=workflows")).status_code == 404
    old.failing = ""
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata?dir=workflows")).json() == ["old one%.json"]


async def test_what_is_taken_over_is_written_in_parts_and_goes_on_where_it_ended(
    tmp_path, monkeypatch
):
    parts = []
    put = userdata.put_missing

    def watched(on, now, user, files):
        parts.append(sum(len(content) for _, content in files))
        return put(on, now, user, files)

    monkeypatch.setattr("holdfast.stores.jobs.userdata.put_missing", watched)
    monkeypatch.setattr("holdfast.comfyui.gateway.heirloom._SMALL", 100)
    monkeypatch.setattr("holdfast.comfyui.gateway.heirloom.AGAIN_SECONDS", 0.0)
    old = Before()
    old.files |= {f"w/{number:02}.json": b"x" * 60 for number in range(20)}
    slow = old.files["w/15.json"]

    async def answer(request):
        if request.path == "/userdata/w/15.json" and old.files["w/15.json"] is slow:
            return web.Response(status=200, headers={"content-length": "9"})  # broken off
        return await old.answer(request)

    async with upstream(answer) as url, house(tmp_path, [url]) as home:
        monkeypatch.setattr("holdfast.comfyui.gateway.heirloom.SECONDS", 1.0)
        taken = (await home.client.get("/userdata?dir=w")).json()
        assert 0 < len(taken) < 20
        old.files["w/15.json"] = b"y" * 60
        assert len((await home.client.get("/userdata?dir=w")).json()) == 20
    assert max(parts) <= 100
    assert sum(parts) < 25 * 60  # nothing twice


async def test_what_is_taken_over_is_no_more_than_one_may_save(tmp_path, monkeypatch):
    monkeypatch.setattr("holdfast.comfyui.gateway.heirloom.MOST_TOTAL", 100)
    monkeypatch.setattr("holdfast.stores.jobs.userdata.MOST_TOTAL", 100)
    old = Before()
    old.files = {f"w/{number:02}.json": b"x" * 60 for number in range(50)}
    old.files["comfy.settings.json"] = b"{}"
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/userdata?dir=w")).json() == ["00.json"]
    assert old.asked < 15  # the others are not even fetched


def test_many_files_are_taken_over_at_once_by_the_same_rules(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    put = userdata.writing(userdata.put, "ann", "a/b", b"mine")
    store.write(put).result()
    files = [("a", b""), ("a/b", b"theirs"), ("a/b/c", b""), ("c", b"1"), ("c/d", b""), ("c", b"2")]
    put = userdata.writing(userdata.put_missing, "ann", files)
    left = store.write(put).result()
    assert [each.partition(":")[0] for each in left] == ["'a'", "'a/b/c'", "'c/d'"]
    found = store.read(lambda on: [userdata.read(on, "ann", path) for path in ("a/b", "c")])
    assert [each and each[1] for each in found] == [b"mine", b"1"]
    store.close()


async def test_what_a_server_had_is_shown_only_to_who_may_see_what_is_everybodys(tmp_path):
    old = Before()
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        assert (await home.client.get("/settings", headers=ANN)).json() == {}
        assert (await home.client.get("/settings", headers={"x-user": "eve:view,admin"})).json()
        assert (await home.client.get("/settings", headers=ANN)).json() == {}


@pytest.mark.parametrize("status", [500, 401, 403, 302, 200])
async def test_a_server_in_trouble_is_asked_again_later_and_not_for_each_request(
    tmp_path, monkeypatch, status
):
    old = Before()
    old.broken = status
    monkeypatch.setattr("holdfast.comfyui.gateway.heirloom.AGAIN_SECONDS", 3600.0)
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        await home.client.post("/settings", json={"s": 2})
        before = old.asked
        await home.client.get("/settings")
        assert old.asked == before
    old.broken = 0
    async with upstream(old.answer) as url, house(tmp_path, [url]) as home:
        # What was saved here meanwhile wins.
        assert (await home.client.get("/settings")).json() == {"s": 2}
        assert (await home.client.get("/userdata?dir=workflows")).json() == ["old one%.json"]
