"""Paths and methods: the web page's endpoints, and what is said to the wrong method."""

import os

import pytest

from tests.comfyui.standin.tiny import graph, running


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/features", "GET,HEAD"),
        ("/api/object_info/Save", "GET,HEAD"),
        ("/internal/logs", "GET,HEAD"),
        ("/nothing/here", "GET,HEAD"),
        ("/", "GET,HEAD"),
    ],
)
async def test_what_is_only_read_allows_nothing_else(method, path, allowed):
    async with running() as client:
        async with client.session.request(method, client.server.url + path) as answer:
            assert (answer.status, await answer.text()) == (405, "405: Method Not Allowed")
            assert answer.content_type == "text/plain"
            assert answer.headers["Allow"] == allowed


async def test_what_is_written_allows_that_too():
    async with running() as client:
        async with client.session.put(client.server.url + "/prompt") as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "GET,HEAD,POST")
        assert await client.get("/interrupt") == 404


@pytest.mark.parametrize("path", ["/prompt", "/api/view", "/internal/logs", "/nothing/here"])
async def test_options_are_always_fine(path):
    async with running() as client:
        async with client.session.options(client.server.url + path) as answer:
            assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize("path", ["/nothing/here", "/api/nothing", "/api/internal/logs"])
async def test_an_unknown_path_is_an_empty_404(path):
    async with running() as client:
        async with client.session.get(client.server.url + path) as answer:
            assert (answer.status, await answer.read()) == (404, b"")
        async with client.session.head(client.server.url + path) as answer:
            assert answer.status == 404


async def test_there_is_no_page():
    async with running() as client:
        assert await client.get("/extensions") == []
        assert await client.get("/settings") == {}
        assert await client.get("/settings/Comfy.Any") is None
        assert await client.get("/i18n") == {}
        assert await client.get("/api/workflow_templates") == {}
        assert await client.get("/users") == {"storage": "server", "migrated": True}


@pytest.mark.parametrize(
    ("query", "status", "words"),
    [
        ("", 400, "Directory not provided"),
        ("?dir=workflows", 404, "Directory not found"),
        ("?dir=../x", 403, "Invalid directory"),
        ("?dir=/etc", 403, "Invalid directory"),
    ],
)
async def test_the_user_has_no_files(query, status, words):
    async with running() as client:
        async with client.session.get(f"{client.server.url}/userdata{query}") as answer:
            assert (answer.status, await answer.text()) == (status, words)


async def test_the_log_line_by_line():
    async with running() as client:
        await client.finished(await client.submit(graph()))
        told = await client.get("/internal/logs/raw")
        assert list(told) == ["entries", "size"]
        assert told["size"] == {"cols": 80, "rows": 24}
        assert told["entries"][0]["m"] == "got prompt\n"
        text = "".join(f"{entry['t']} - {entry['m']}" for entry in told["entries"])
        assert await client.get("/internal/logs") == text


async def test_where_things_lie():
    async with running() as client:
        places = await client.get("/internal/folder_paths")
        assert list(places) == await client.get("/models")
        assert places["loras"] == [str(client.server.folder.resolve() / "models" / "loras")]
        listed = await client.get("/experiment/models")
        assert {"name": "loras", "folders": places["loras"]} in listed
        names = [each["name"] for each in listed]
        assert set(places) - set(names) == {"configs", "custom_nodes"}


async def test_files_newest_first():
    async with running() as client:
        folder = client.server.folder / "output"
        for age, name in enumerate("bac"):
            (folder / name).write_bytes(b"")
            os.utime(folder / name, (1000 - age, 1000 - age))
        (folder / "deeper").mkdir()
        assert await client.get("/internal/files/output") == ["b", "a", "c"]
        assert await client.get("/internal/files/models") == 400
