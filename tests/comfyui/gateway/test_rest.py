"""Holdfast's own interface, without a socket between."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from holdfast.comfyui import ComfyUI
from holdfast.comfyui.gateway.access import Access
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.intake import Intake
from holdfast.comfyui.gateway.keys import KeyStore, Quotas
from holdfast.comfyui.gateway.limits import Shedding
from holdfast.comfyui.gateway.rest import rest_app
from holdfast.stores.blobs import BlobStore
from holdfast.stores.jobs import JobState, JobStore, NewFile, NewJob

WORKFLOW = {"1": {"class_type": "SaveImage", "inputs": {}}}


class House:
    def __init__(self, folder):
        self.store = JobStore(folder / "jobs.db")
        self.blobs = BlobStore(folder / "blobs")
        self.keys = KeyStore(self.store.engine)
        self.audit = AuditLog(self.store.engine)
        self.app = rest_app(
            self.store,
            ComfyUI("http://127.0.0.1:1"),
            self.keys,
            self.audit,
            on_accepted=lambda _: None,
            on_change=lambda _: None,
            intake=Intake(self._open, Shedding(most=50)),
            blobs=self.blobs,
        )
        self.door = Access(self._mounted, self.keys, Exposure.read(), self.audit)

    def _open(self, user):
        counts = self.store.counts(user=user)
        return counts[JobState.QUEUED] + counts[JobState.RUNNING]

    async def _mounted(self, scope, receive, send):
        scope["path"] = scope["path"].removeprefix("/holdfast/api")
        await self.app(scope, receive, send)

    def client(self, *scopes, user="ann", **quotas):
        shown, _ = self.keys.create(user, scopes, quotas=Quotas(**quotas))
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(self.door),
            base_url="http://127.0.0.1:8188/holdfast/api",
            headers={"X-API-Key": shown},
        )

    def close(self):
        self.audit.close()
        self.store.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


async def test_without_the_door_nobody_is_let_in(house):
    transport = httpx.ASGITransport(house.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
        assert (await client.get("/jobs")).status_code == 401
        assert (await client.post("/keys", json={})).status_code in {401, 422}


@pytest.mark.parametrize(
    "body",
    [b'{"paused": NaN}', b'{"paused": 1e400}', b'{"paused": true, "reason": "\\ud800"}',
     b'{"paused": true, "\\ud800": 1}', b"\xff\xfe", b"[" * 100_000, b"9" * 6_000],
)  # fmt: skip
async def test_what_no_json_can_tell_is_refused_without_being_told_back(house, body):
    async with house.client("admin") as client:
        answer = await client.put(
            "/queue", content=body, headers={"content-type": "application/json"}
        )
    assert answer.status_code in {400, 422}
    assert "detail" in answer.json()


async def test_a_refusal_does_not_tell_back_what_was_sent(house):
    async with house.client("admin") as client:
        answer = await client.post("/keys", json={"user": ["my-secret"], "scopes": ["view"]})
    assert answer.status_code == 422
    assert "my-secret" not in answer.text


async def test_quotas_hold_here_as_on_comfyuis_side(house):
    async with house.client("view", "run", "cancel", max_queued=2) as client:
        seen = [
            (await client.post("/jobs", json={"workflow": WORKFLOW, "name": str(n)})).status_code
            for n in range(3)
        ]
        assert seen == [201, 201, 429]
    async with house.client("view", "run", user="bob", jobs_per_hour=1) as client:
        assert (await client.post("/jobs", json={"workflow": WORKFLOW})).status_code == 201
        answer = await client.post("/jobs", json={"workflow": WORKFLOW})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 60


async def test_no_more_jobs_of_a_user_run_than_a_key_made_here_says(house):
    async with house.client("admin", user="root") as root:
        made = {"user": "ann", "scopes": ["run", "view"], "max_running": 1}
        assert (await root.post("/keys", json=made)).json()["max_running"] == 1
        assert (await root.post("/keys", json=made | {"max_running": 0})).status_code == 422
    async with house.client("view", "run", max_running=1) as ann:
        for _ in range(3):
            assert (await ann.post("/jobs", json={"workflow": WORKFLOW})).status_code == 201
    async with house.client("view", "run", user="bob") as bob:
        await bob.post("/jobs", json={"workflow": WORKFLOW})
    claims = await asyncio.to_thread(lambda: house.store.claim("w", 10).result())
    assert sorted(claim.job.user for claim in claims) == ["ann", "bob"]


async def test_running_once_more_is_running_and_counts(house):
    async with house.client("view", "run", "cancel", jobs_per_hour=2) as client:
        job = (await client.post("/jobs", json={"workflow": WORKFLOW})).json()["id"]
        assert (await client.post(f"/jobs/{job}/cancel")).json()["state"] == "cancelled"
        assert (await client.post(f"/jobs/{job}/retry")).json()["state"] == "queued"
        assert (await client.post(f"/jobs/{job}/cancel")).status_code == 200
        assert (await client.post(f"/jobs/{job}/retry")).status_code == 429
        async with house.client("view", "cancel") as other:
            assert (await other.post(f"/jobs/{job}/retry")).status_code == 403


async def test_somebody_elses_job_is_no_job(house):
    async with house.client("view", "run", "cancel") as ann:
        job = (await ann.post("/jobs", json={"workflow": WORKFLOW})).json()["id"]
    async with house.client("view", "run", "cancel", user="bob") as bob:
        assert (await bob.get("/jobs")).json() == []
        for method, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/retry")):
            theirs = await bob.request(method, f"/jobs/{job}{path}")
            unknown = await bob.request(method, f"/jobs/nothing{path}")
            assert (theirs.status_code, theirs.content) == (404, unknown.content)


async def test_a_key_made_here_opens_and_is_shown_once(house):
    async with house.client("admin") as root:
        made = (await root.post("/keys", json={"user": "eve", "scopes": ["view"]})).json()
        assert house.keys.verify(made["key"]).user == "eve"
        assert made["key"].split("_")[2] not in (await root.get("/keys")).text
        assert (await root.delete(f"/keys/{made['id']}")).json()["disabled"] is True
        assert house.keys.verify(made["key"]) is None


def ended(house, state, outcome, *files, user="ann"):
    """A job that ended so, by its id."""
    house.store.accept([NewJob({"graph": WORKFLOW}, user=user)]).result()
    (claim,) = house.store.claim("worker").result()
    house.store.settle(claim.job.id, claim.fence, state, outcome, files=files).result()
    return claim.job.id


async def test_files_are_listed_and_downloaded_by_their_owner_alone(house):
    sha256 = house.blobs.put(b"<script>alert(1)</script>")
    file = NewFile("9", 'page"\r\n.html', sha256=sha256, size=25, media_type="text/html")
    job = ended(house, JobState.DELIVERED, {"status": "delivered"}, file)
    async with house.client("view") as ann, house.client("view", user="bob") as bob:
        (listed,) = (await ann.get(f"/jobs/{job}/files")).json()
        assert listed["sha256"] == sha256
        answer = await ann.get(f"/jobs/{job}/files/{listed['position']}")
        assert answer.content == b"<script>alert(1)</script>"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-type"] == "application/octet-stream"
        part = await ann.get(f"/jobs/{job}/files/0", headers={"Range": "bytes=1-6"})
        assert (part.status_code, part.content) == (206, b"script")
        assert (await ann.get(f"/jobs/{job}/files/1")).status_code == 404
        assert (await ann.get("/jobs/nobody/files")).status_code == 404
        for path in (f"/jobs/{job}/files", f"/jobs/{job}/files/0"):
            assert (await bob.get(path)).status_code == 404
    house.blobs.remove(sha256)
    async with house.client("view") as ann:
        assert (await ann.get(f"/jobs/{job}/files/0")).status_code == 404
    async with house.client("run") as ann:
        assert (await ann.get(f"/jobs/{job}/files/0")).status_code == 403


async def test_dead_letters_tell_what_went_wrong_and_go_when_they_are_retried(house):
    failure = {"kind": "node_error", "message": "out of memory"}
    job = ended(house, JobState.FAILED, {"failure": failure, "attempts": [{}, {}]})
    ended(house, JobState.FAILED, {"failure": failure}, user="bob")
    ended(house, JobState.DELIVERED, {})
    async with house.client("view", "run") as ann:
        (letter,) = (await ann.get("/dead-letters")).json()
        assert letter["id"] == job
        assert letter["failure"] == failure
        assert letter["attempts"] == 2
        assert (await ann.post(f"/jobs/{job}/retry")).status_code == 200
        assert (await ann.get("/dead-letters")).json() == []


async def test_what_a_jobs_state_does_not_allow_is_refused_instead_of_done_without_effect(house):
    delivered = ended(house, JobState.DELIVERED, {})
    house.store.accept([NewJob({"graph": WORKFLOW}, user="ann")]).result()
    (claim,) = house.store.claim("worker").result()
    async with house.client("run", "cancel", "view") as ann:
        assert (await ann.post(f"/jobs/{delivered}/cancel")).status_code == 409
        assert (await ann.post(f"/jobs/{delivered}/retry")).status_code == 409
        assert (await ann.post(f"/jobs/{claim.job.id}/cancel")).status_code == 200
        said = await ann.post(f"/jobs/{claim.job.id}/retry")
        assert said.status_code == 409
        assert "running" in said.json()["detail"]


async def test_halves_of_characters_that_a_server_sent_hide_no_job(house):
    house.store.accept([NewJob({}, id=each, user="ann") for each in "jk"]).result()
    claims = {each.job.id: each.fence for each in house.store.claim("worker", 2).result()}
    told = {"status": "delivered", "outputs": {"1": {"text": ["\ud800"]}}}
    house.store.settle("j", claims["j"], JobState.DELIVERED, told).result()
    lost = {"status": "failed", "failure": {"message": "\ud800"}}
    house.store.settle("k", claims["k"], JobState.FAILED, lost).result()
    house.store.record("j", "failed_attempt", {"message": "\udfff"}).result()
    async with house.client("view") as ann:
        shown = await ann.get("/jobs/j")
        letters = await ann.get("/dead-letters")
    assert (shown.status_code, letters.status_code) == (200, 200)
    assert shown.json()["outcome"]["outputs"] == {"1": {"text": ["?"]}}
    assert letters.json()[0]["failure"]["message"] == "?"


async def test_a_request_that_comes_again_with_its_key_takes_no_room_a_second_time(house):
    body = {"workflow": WORKFLOW, "key": "k"}
    async with house.client("run", max_queued=1, jobs_per_hour=1) as ann:
        seen = [await ann.post("/jobs", json=body) for _ in range(4)]
    assert [each.status_code for each in seen] == [201] * 4
    assert len({each.json()["id"] for each in seen}) == 1


async def test_retries_have_the_priority_their_owner_may_have_and_free_their_place_at_once(house):
    job = house.store.accept([NewJob({}, user="ann", priority=9)]).result()[0].id
    house.store.cancel(job).result()
    async with house.client("run", "cancel", max_queued=2, top_priority=3) as ann:
        assert (await ann.post(f"/jobs/{job}/retry")).json()["priority"] == 3
        # It is counted in the store, and not as well as being on its way there.
        assert (await ann.post("/jobs", json={"workflow": WORKFLOW})).status_code == 201
        assert (await ann.post("/jobs", json={"workflow": WORKFLOW})).status_code == 429


async def test_a_key_that_came_with_another_workflow_is_refused_and_not_answered_with_that_job(
    house,
):
    other = {"1": {"class_type": "SaveImage", "inputs": {"filename_prefix": "other"}}}
    async with house.client("run") as ann:
        first = await ann.post("/jobs", json={"workflow": WORKFLOW, "key": "k"})
        again = await ann.post("/jobs", json={"workflow": WORKFLOW, "key": "k"})
        changed = await ann.post("/jobs", json={"workflow": other, "key": "k"})
    assert (first.status_code, again.status_code, changed.status_code) == (201, 201, 422)
    assert again.json()["id"] == first.json()["id"]
    assert "key" in changed.json()["detail"]
