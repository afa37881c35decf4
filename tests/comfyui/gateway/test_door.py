"""The door's judgements: paths, keys, hosts, origins, limits, exposure."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.comfyui.gateway import own
from holdfast.comfyui.gateway.caller import EVERY_SCOPE, Caller, Quotas, Scope, scopes_of
from holdfast.comfyui.gateway.exposure import Exposure, is_loopback
from holdfast.comfyui.gateway.forbidden import judge, read_path
from holdfast.comfyui.gateway.guard import Refusal
from holdfast.comfyui.gateway.intake import Intake
from holdfast.comfyui.gateway.keys import KeyStore, new_key, parse_key
from holdfast.comfyui.gateway.limits import AtOnce, Hourly, Rates, Shedding, over_quota
from holdfast.comfyui.gateway.origins import host_allowed, origin_allowed, peer_of, read_origin
from holdfast.errors import BadInputError
from holdfast.stores.jobs import JobStore, NewJob
from holdfast.testing import FakeClock


@pytest.mark.parametrize(
    "path",
    ["/../etc/passwd", "/a/%2e%2e/b", "/a%00b", "/a%5cb", "/%252e%252e/x", "/view%2f..%2fx",
     "/a/./b", "/\x7f", "nothing"],
)  # fmt: skip
def test_a_path_that_reads_two_ways_is_refused(path):
    assert isinstance(read_path(path), str)
    assert not judge("GET", path).allowed


@given(st.binary(max_size=200))
def test_every_path_is_read_once_or_refused(raw):
    read = judge("GET", b"/" + raw)
    if read.allowed:
        again = judge("GET", read.forward)
        assert again.path == read.path
        assert ".." not in read.path.split("/")


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/queue", Scope.VIEW),
        ("POST", "/prompt", Scope.RUN),
        ("POST", "/api/interrupt", Scope.CANCEL),
        ("POST", "/free", Scope.ADMIN),
        ("GET", "/internal/logs", Scope.ADMIN),
        ("GET", "/holdfast/", Scope.DASHBOARD),
        ("GET", "/holdfast/api/jobs", Scope.VIEW),
        ("GET", "/holdfast/api/jobs/a/files/0", Scope.VIEW),
        ("GET", "/holdfast/thumb/abc", Scope.DASHBOARD),
        ("GET", "/holdfast/file/abc/a.png", Scope.DASHBOARD),
        ("GET", "/holdfast/health", None),
        ("POST", "/some_node/download", Scope.ADMIN),
    ],
)
def test_each_request_takes_a_scope(method, path, need):
    assert judge(method, path).need == need


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/assets"),
        ("GET", "/assets"),
        ("GET", "/assets/3f2504e0-4f89-41d3-9a0c-0305e82c3301/content"),
        ("GET", "/api/assets/1/content"),
        ("GET", "/api/assets/x.js"),
        ("DELETE", "/api/assets/1"),
        ("POST", "/assets"),
        ("GET", "/vhs/viewvideo"),
        ("GET", "/api/VHS/viewvideo"),
        ("GET", "/vhs/getpath"),
        ("GET", "/viewvideo"),
        ("GET", "/pysssss/view/x"),
    ],
)
def test_what_belongs_to_all_users_of_a_server_takes_an_administrator(method, path):
    judged = judge(method, path)
    assert judged.allowed
    assert judged.need == Scope.ADMIN
    assert judged.why


@pytest.mark.parametrize(
    ("method", "path", "need"),
    [
        ("GET", "/holdfast/api/jobs", Scope.VIEW),
        ("GET", "/holdfast/api/jobs/a/files/0", Scope.VIEW),
        ("GET", "/holdfast/thumb/abc", Scope.DASHBOARD),
        ("GET", "/holdfast/file/abc/a.png", Scope.DASHBOARD),
        ("POST", "/holdfast/api/jobs", Scope.RUN),
        ("POST", "/holdfast/api/jobs/a/cancel", Scope.CANCEL),
        ("POST", "/holdfast/api/jobs/a/retry", Scope.RUN),
        ("PUT", "/holdfast/api/jobs/a/priority", Scope.ADMIN),
        ("PUT", "/holdfast/api/queue", Scope.ADMIN),
        ("POST", "/userdata/workflows%2Fa.json", Scope.RUN),
    ],
)
def test_a_key_needs_the_one_scope_that_a_request_is_about(method, path, need):
    assert judge(method, path).need == need


@pytest.mark.parametrize(
    "path",
    ["/", "/assets/index-Ab12.js", "/assets/images/comfy.svg", "/view", "/api/view",
     "/view_metadata/loras", "/userdata", "/settings", "/object_info/LoadImage", "/models/vae",
     "/experiment/models/preview/vae/0/a", "/extensions/vhs/view.js", "/history", "/api/jobs/a",
     "/templates/image.webp", "/system_stats", "/embeddings", "/api/userdata/user.css"],
)  # fmt: skip
def test_the_page_and_ones_own_files_take_no_more_than_to_view(path):
    assert judge("GET", path).need == Scope.VIEW


def test_an_upload_takes_no_more_than_to_run():
    assert judge("POST", "/api/upload/image").need == Scope.RUN


@pytest.mark.parametrize(
    "path", ["/manager/install", "/api/customnode/install/git_url", "/v2/manager/reboot"]
)
def test_custom_nodes_are_never_installed_through_the_gateway(path):
    assert judge("POST", path).status == 403


def test_a_managers_settings_are_not_written_by_any_name():
    assert not judge("POST", "/userdata/comfyui-manager%2Fconfig.ini").allowed
    assert not judge("POST", "/api/userdata/ComfyUI-Manager/config.ini").allowed


def test_a_key_is_shown_once_and_kept_as_a_hash(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    keys = KeyStore(store.engine)
    shown, key = keys.create("ann", ["view"])
    assert keys.verify(shown).user == "ann"
    assert keys.verify(shown[:-1] + ("a" if shown[-1] != "a" else "b")) is None
    assert shown.split("_")[2] not in repr(key)
    content = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert shown.split("_")[2].encode() not in content
    keys.disable(key.id)
    assert keys.verify(shown) is None
    store.close()


def test_a_key_that_has_run_out_opens_nothing(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    with FakeClock() as clock:
        from holdfast.ports import ambient

        keys = KeyStore(store.engine)
        shown, _key = keys.create("ann", ["view"], expires=ambient.wall() + 10)
        assert keys.verify(shown) is not None
        clock.advance(11)
        assert keys.verify(shown) is None
    store.close()


@given(st.text(max_size=100))
def test_no_text_breaks_the_reading_of_keys(text):
    assert parse_key(text) is None or text.startswith("hf_")


def test_two_keys_are_never_alike():
    assert len({new_key()[0] for _ in range(100)}) == 100


def test_an_unknown_scope_is_named():
    with pytest.raises(BadInputError, match="must be among view"):
        scopes_of(["everything"])


@pytest.mark.parametrize(
    ("host", "allowed"),
    [("localhost:8188", True), ("127.0.0.1", True), ("[::1]:8188", True), ("evil.example", False),
     ("gpu.example", True), ("", False), ("a b", False)],
)  # fmt: skip
def test_only_known_names_are_answered(host, allowed):
    assert host_allowed(host, frozenset({"gpu.example"})) is allowed


def test_a_foreign_page_is_not_let_in_and_ones_own_is():
    peer = peer_of(("127.0.0.1", 1), "http", {b"host": b"localhost:8188"}, ())
    assert origin_allowed("http://localhost:8188", peer, frozenset())
    assert not origin_allowed("http://evil.example", peer, frozenset())
    assert not origin_allowed("null", peer, frozenset())
    named = read_origin("https://app.example")
    assert origin_allowed("https://app.example", peer, frozenset({named}))


def test_forwarded_addresses_are_believed_of_trusted_proxies_only():
    headers = {b"x-forwarded-for": b"6.6.6.6", b"host": b"x"}
    assert peer_of(("10.0.0.1", 1), "http", headers, ()).address == "10.0.0.1"
    trusted = Exposure.read(proxies=["10.0.0.0/8"]).proxies
    assert peer_of(("10.0.0.1", 1), "http", headers, trusted).address == "6.6.6.6"


@pytest.mark.parametrize(
    ("bind", "near"),
    [("127.0.0.1", True), ("::1", True), ("0.0.0.0", False), ("gpu1", False)],  # noqa: S104 - refused
)
def test_without_keys_only_this_machine_is_served(bind, near):
    assert is_loopback(bind) is near
    open_ = Exposure.read(keyless=True)
    if near:
        open_.check(bind, any_key=False, tls=False)
    else:
        with pytest.raises(BadInputError, match="holdfast keys create"):
            open_.check(bind, any_key=False, tls=False)


def test_keys_without_any_key_are_refused_and_in_the_clear_is_warned_of():
    locked = Exposure.read()
    with pytest.raises(BadInputError, match="--no-keys"):
        locked.check("127.0.0.1", any_key=False, tls=False)
    assert locked.check("0.0.0.0", any_key=True, tls=False) != ()  # noqa: S104 - no socket
    assert locked.check("0.0.0.0", any_key=True, tls=True) == ()  # noqa: S104 - no socket


def test_rates_are_counted_for_each_name_and_bounded_in_memory():
    rates = Rates(10.0, 1.0, 2.0, most=3)
    assert [rates.take("a", 0.0) for _ in range(2)] == [0.0, 0.0]
    assert rates.take("a", 0.0) > 0
    assert rates.take("b", 0.0) == 0.0
    for number in range(100):
        rates.take(str(number), 0.0)
    assert len(rates) <= 3


def test_a_place_that_is_left_is_free_again():
    room = AtOnce(1, 2)
    assert room.enter("a")
    assert not room.enter("a")
    assert room.enter("b")
    assert not room.enter("c")
    room.leave("a")
    assert room.enter("c")


def test_never_more_than_the_quota_in_any_hour():
    hourly = Hourly()
    for _ in range(3):
        assert hourly.wait("k", 3, 100.0) == 0.0
        hourly.count("k", 100.0)
    wait = hourly.wait("k", 3, 200.0)
    assert wait > 0
    assert hourly.wait("k", 3, 200.0 + wait + 1) == 0.0


@given(st.dictionaries(st.integers(0, 59), st.integers(1, 5), max_size=10), st.floats(0, 1e6))
def test_what_was_accepted_before_the_start_counts_until_it_is_an_hour_ago(ages, now):
    hourly, total = Hourly(), sum(ages.values())
    assert not hourly.knows("k")
    hourly.begin("k", ages, now)
    assert hourly.knows("k")
    assert hourly.wait("k", total + 1, now) == 0.0
    wait = hourly.wait("k", total, now) if total else 60.0
    assert 0 < wait <= 3_660
    assert hourly.wait("k", max(total, 1), now + 3_661) == 0.0


async def test_a_restart_forgets_no_job_of_the_last_hour(tmp_path):
    store = JobStore(tmp_path / "jobs.db")
    caller = Caller("ann", EVERY_SCOPE, "key", "127.0.0.1", Quotas(jobs_per_hour=3))
    other = Caller("ann", EVERY_SCOPE, "other key", "127.0.0.1")

    def started():
        return Intake(lambda _: 0, lately=lambda user: own.accepted_lately(store, user))

    with FakeClock() as clock:
        store.accept([NewJob({}, user="ann"), NewJob({}, user="bob")]).result()
        clock.advance(1_800)
        store.accept([NewJob({}, user="ann")]).result()
        intake = started()
        await intake.let_in(caller, 0)
        for _ in range(2):
            with pytest.raises(Refusal) as refused:
                await intake.let_in(caller, 0)
        assert 1_750 < refused.value.retry_after < 1_870
        clock.advance(refused.value.retry_after)
        await intake.let_in(other, 0)
        with pytest.raises(Refusal):
            await intake.let_in(caller, 0)
        clock.advance(3_700)
        await started().let_in(caller, 0)
    store.close()


def test_the_lowest_priorities_are_turned_away_first():
    shedding = Shedding(most=100)
    assert shedding.judge(-100, 85).status == 429
    assert shedding.judge(0, 85) is None
    assert shedding.judge(100, 99) is None
    assert shedding.judge(100, 100).status == 429


def test_a_quota_says_what_is_full():
    assert over_quota(Quotas(max_queued=2), 2, 0).status == 429
    assert over_quota(Quotas(top_priority=5), 0, 6).status == 403
    assert over_quota(Quotas(), 10**6, 10**6) is None


def test_intake_counts_what_it_lets_in_between_two_counts():
    intake = Intake(lambda user: 0, Shedding(most=1_000))
    caller = Caller("ann", EVERY_SCOPE, "key", "127.0.0.1", Quotas(max_queued=2))
    with FakeClock():
        for user in (None, "ann"):
            assert intake.stale(user)
            intake.recount(user)
            assert not intake.stale(user)
        intake.judge(caller, 0)
        intake.judge(caller, 0)
        with pytest.raises(Refusal) as refused:
            intake.judge(caller, 0)
    assert refused.value.status == 429
    assert refused.value.retry_after > 0


async def test_a_burst_gets_no_more_into_the_queue_than_the_quota():
    disk = []

    def count(_user):
        seen = len(disk)
        time.sleep(0.005)
        return seen

    intake = Intake(count)
    caller = Caller("ann", EVERY_SCOPE, "key", "127.0.0.1", Quotas(max_queued=2))

    async def one(number):
        await asyncio.sleep(number / 500)
        await intake.let_in(caller, 0)
        await asyncio.sleep(0.03)
        disk.append(number)
        intake.landed("ann")

    told = await asyncio.gather(*map(one, range(60)), return_exceptions=True)
    assert told.count(None) == 2
    assert all(isinstance(each, Refusal) for each in told if each is not None)


async def test_a_job_that_was_let_in_and_not_accepted_gives_its_place_back():
    intake = Intake(lambda _: 0)
    caller = Caller("ann", EVERY_SCOPE, "key", "127.0.0.1", Quotas(max_queued=1))
    with FakeClock() as clock:
        await intake.let_in(caller, 0)
        clock.advance(2)
        with pytest.raises(Refusal):
            await intake.let_in(caller, 0)
        clock.advance(11)
        await intake.let_in(caller, 0)
