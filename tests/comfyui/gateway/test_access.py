"""The door, before an app that tells who came in and what is left of their request."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import logging
import statistics
import time
from dataclasses import replace

import pytest
import sqlalchemy as sa

from holdfast.comfyui.gateway import keys as key_module
from holdfast.comfyui.gateway.access import Access
from holdfast.comfyui.gateway.audit import AuditLog
from holdfast.comfyui.gateway.caller import caller_of
from holdfast.comfyui.gateway.exposure import Exposure
from holdfast.comfyui.gateway.keys import KeyStore
from holdfast.comfyui.gateway.limits import Limits
from holdfast.comfyui.gateway.session import Sessions
from holdfast.scrub import scrub
from holdfast.stores import address
from holdfast.stores.jobs import JobStore
from holdfast.testing import FakeClock
from tests.comfyui.gateway.mutator import Sent, requests, send

HOST = (b"host", b"127.0.0.1:8188")


async def echo(scope, receive, send_):
    """Tells what reached it; reads its body whole."""
    if scope["type"] == "websocket":
        await receive()
        await send_({"type": "websocket.accept"})
        return
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("the client has gone")
        size += len(message["body"])
        if not message.get("more_body"):
            break
    caller = caller_of(scope)
    told = {
        "user": caller.user,
        "key": caller.key_id,
        "address": caller.address,
        "path": scope["path"],
        "raw": scope["raw_path"].decode(),
        "query": scope["query_string"].decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in
                    scope["headers"]],
        "size": size,
    }  # fmt: skip
    await send_({"type": "http.response.start", "status": 200, "headers": []})
    await send_({"type": "http.response.body", "body": json.dumps(told).encode()})


class House:
    def __init__(self, folder):
        self.store = JobStore(folder / "jobs.db")
        self.keys = KeyStore(self.store.engine)
        self.audit = AuditLog(self.store.engine, flush_seconds=0.05)
        self.shown, self.key = self.keys.create("ann", ["view", "run", "cancel"])

    def door(self, app=echo, **settings):
        return Access(app, self.keys, Exposure.read(**settings), self.audit)

    def close(self):
        self.audit.close()
        self.store.close()


@pytest.fixture
def house(tmp_path):
    made = House(tmp_path)
    yield made
    made.close()


def bearer(key):
    return (b"authorization", b"Bearer " + key.encode())


def basic(key):
    return (b"authorization", b"Basic " + base64.b64encode(b"anybody:" + key.encode()))


@pytest.mark.parametrize("way", ["bearer", "x-api-key", "basic"])
async def test_a_key_opens_in_each_way_and_is_gone_behind_the_door(house, way):
    header = {
        "bearer": bearer(house.shown),
        "x-api-key": (b"x-api-key", house.shown.encode()),
        "basic": basic(house.shown),
    }[way]
    answer = await send(house.door(), Sent("GET", b"/queue", headers=(HOST, header)))
    assert answer.status == 200
    told = json.loads(answer.body)
    assert told["user"] == "ann"
    assert told["key"] == house.key.id
    assert house.shown.split("_")[2] not in answer.body.decode()


@pytest.mark.parametrize("path", [b"/view", b"/api/view"])
async def test_a_token_in_the_query_counts_for_files_and_is_taken_out_in_place(house, path):
    query = b"filename=a%20b.png&%74oken=" + house.shown.encode() + b"&type=output"
    sent = Sent("GET", path, query)
    answer = await send(house.door(), sent)
    assert answer.status == 200
    assert json.loads(answer.body)["query"] == "filename=a%20b.png&type=output"
    scope = sent.scope()
    scope["path"] = path.decode()

    async def nothing(*_):
        return {"type": "http.request", "body": b""}

    async def ignore(_):
        return None

    await house.door()(scope, nothing, ignore)
    assert scope["query_string"] == b"filename=a%20b.png&type=output"


async def test_a_token_in_the_query_counts_nowhere_else_and_is_taken_out_even_so(house):
    answer = await send(house.door(), Sent("GET", b"/queue", b"token=" + house.shown.encode()))
    assert answer.status == 401


async def test_a_socket_is_opened_by_a_token_and_by_nothing_less(house):
    token = b"token=" + house.shown.encode()
    assert (await send(house.door(), Sent("GET", b"/ws", token, socket=True))).status == 101
    assert (await send(house.door(), Sent("GET", b"/ws", socket=True))).status == 403


async def test_unknown_disabled_wrong_and_broken_keys_are_answered_alike(house):
    disabled, key = house.keys.create("bob", ["view"])
    house.keys.disable(key.id)
    unknown, _ = key_module.new_key()
    wrong = house.shown[:-1] + ("A" if house.shown[-1] != "A" else "B")
    door = house.door(limits=Limits(failed_logins=100))
    told = set()
    for text in (disabled, unknown, wrong, "nothing", "", "hf_" + "a" * 500):
        answer = await send(door, Sent("GET", b"/queue", headers=(HOST, bearer(text))))
        told.add((answer.status, answer.body, tuple(answer.headers)))
    assert len(told) == 1
    assert told.pop()[0] == 401


async def test_a_key_that_somebody_else_has_just_made_opens_at_once(house):
    with FakeClock() as clock:
        door = house.door()
        house.keys.refresh()
        shown, _ = KeyStore(house.store.engine).create("bob", ["view"])
        clock.advance(key_module.NEWS_SECONDS + 0.1)
        assert house.keys.fresh
        answer = await send(door, Sent("GET", b"/queue", headers=(HOST, bearer(shown))))
        assert answer.status == 200


async def test_made_up_keys_have_the_keys_read_seldom(house, monkeypatch):
    with FakeClock():
        door, read = house.door(limits=Limits(failed_logins=100)), []
        house.keys.refresh()
        monkeypatch.setattr(house.keys, "refresh", lambda: read.append(1))
        for _ in range(20):
            made_up, _ = key_module.new_key()
            await send(door, Sent("GET", b"/queue", headers=(HOST, bearer(made_up))))
        assert not read


async def test_what_is_open_to_all_knows_who_shows_a_good_key(house):
    for headers, user in (((), ""), ((bearer(house.shown),), "ann"), ((bearer("no"),), "")):
        sent = Sent("GET", b"/holdfast/health", headers=(HOST, *headers))
        answer = await send(house.door(), sent)
        assert answer.status == 200
        assert json.loads(answer.body)["user"] == user


def test_an_unknown_id_takes_as_long_as_a_wrong_secret(house):
    unknown, _ = key_module.new_key()
    wrong = house.shown[:-1] + ("A" if house.shown[-1] != "A" else "B")

    def seconds(text):
        begun = time.perf_counter()
        for _ in range(50):
            house.keys.verify(text)
        return time.perf_counter() - begun

    rounds = [(seconds(unknown), seconds(wrong)) for _ in range(60)]
    first, second = (min(each) for each in zip(*rounds, strict=True))
    assert 0.5 < first / second < 2.0, statistics.mean(one / two for one, two in rounds)


async def test_many_wrong_keys_are_turned_away_and_a_right_one_still_opens(house):
    with FakeClock() as clock:
        door = house.door(limits=Limits(failed_logins=3))
        house.keys.refresh()
        wrong = Sent("GET", b"/queue", headers=(HOST, bearer(key_module.new_key()[0])))
        seen = [(await send(door, wrong)).status for _ in range(5)]
        assert seen == [401, 401, 401, 429, 429]
        answer = await send(door, wrong)
        assert int(answer.header(b"retry-after")) in range(1, 7)
        right = Sent("GET", b"/queue", headers=(HOST, bearer(house.shown)))
        assert (await send(door, right)).status == 200
        clock.advance(6.1)
        house.keys.refresh()
        assert (await send(door, wrong)).status == 401


async def test_a_request_that_shows_two_different_keys_is_refused(house):
    other, _ = house.keys.create("bob", ["view"])
    both = (HOST, bearer(house.shown), (b"x-api-key", other.encode()))
    assert (await send(house.door(), Sent("GET", b"/queue", headers=both))).status == 401
    twice = (HOST, bearer(house.shown), (b"x-api-key", house.shown.encode()))
    assert (await send(house.door(), Sent("GET", b"/queue", headers=twice))).status == 200


# Browsers ---------------------------------------------------------------------------------

PAGE = ((b"accept", b"text/html"), (b"sec-fetch-mode", b"navigate"))


async def test_only_who_opens_a_page_is_asked_for_a_password(house):
    page = await send(house.door(), Sent("GET", b"/", headers=(HOST, *PAGE)))
    assert page.header(b"www-authenticate").startswith(b"Basic")
    script = await send(house.door(), Sent("GET", b"/queue", headers=(HOST,)))
    assert script.header(b"www-authenticate").startswith(b"Bearer")


async def test_a_password_gives_a_session_that_opens_pages_and_sockets(house):
    door = house.door()
    answer = await send(door, Sent("GET", b"/", headers=(HOST, *PAGE, basic(house.shown))))
    told = answer.header(b"set-cookie").decode()
    assert "HttpOnly" in told
    assert "SameSite=Strict" in told
    cookie = (b"cookie", b"theme=dark; " + told.split(";")[0].encode())
    again = await send(door, Sent("GET", b"/queue", headers=(HOST, cookie)))
    assert again.status == 200
    assert ["cookie", "theme=dark"] in json.loads(again.body)["headers"]
    own = (b"origin", b"http://127.0.0.1:8188")
    same = (b"sec-fetch-site", b"same-origin")
    socket = Sent("GET", b"/ws", headers=(HOST, cookie, own, same), socket=True)
    assert (await send(door, socket)).status == 101
    house.keys.disable(house.key.id)
    assert (await send(door, Sent("GET", b"/queue", headers=(HOST, cookie)))).status == 401


async def test_a_session_ends_is_of_one_gateway_and_cannot_be_made_up(house):
    with FakeClock() as clock:
        house.keys.refresh()
        exposure = {"sessions": Sessions(b"s" * 32, 100.0)}
        door, other = house.door(**exposure), house.door()
        answer = await send(door, Sent("GET", b"/", headers=(HOST, basic(house.shown))))
        value = answer.header(b"set-cookie").split(b";")[0]
        cookie = Sent("GET", b"/queue", headers=(HOST, (b"cookie", value)))
        longer = value.replace(b".", b".9", 2)
        forged = Sent("GET", b"/queue", headers=(HOST, (b"cookie", longer)))
        assert (await send(door, cookie)).status == 200
        assert (await send(other, cookie)).status == 401
        assert (await send(door, forged)).status == 401
        clock.advance(101)
        house.keys.refresh()
        assert (await send(door, cookie)).status == 401


async def test_another_site_can_do_nothing_with_a_browsers_session(house):
    door = house.door()
    answer = await send(door, Sent("GET", b"/", headers=(HOST, basic(house.shown))))
    cookie = (b"cookie", answer.header(b"set-cookie").split(b";")[0])
    evil, cross = (b"origin", b"http://evil.example"), (b"sec-fetch-site", b"cross-site")
    for headers in ((evil,), (cross,), (evil, cross), ((b"origin", b"null"),), ()):
        sent = Sent("POST", b"/prompt", headers=(HOST, cookie, *headers), body=b"{}")
        assert (await send(door, sent)).status == 403
        lent = Sent("POST", b"/prompt", headers=(HOST, basic(house.shown), *headers), body=b"{}")
        assert (await send(door, lent)).status == (403 if headers else 200)
    for headers in ((evil,), (cross,)):
        for socket in (True, False):
            sent = Sent("GET", b"/ws", headers=(HOST, cookie, *headers), socket=socket)
            assert (await send(door, sent)).status == 403


async def test_a_name_that_was_rebound_to_this_machine_is_not_answered(house):
    for host in (b"evil.example", b"evil.example:8188", b"", b"127.0.0.1.evil.example", b"[::1"):
        sent = Sent("GET", b"/queue", headers=((b"host", host), bearer(house.shown)))
        assert (await send(house.door(), sent)).status == 421
    allowed = Sent("GET", b"/queue", headers=((b"host", b"Gpu.example:99"), bearer(house.shown)))
    assert (await send(house.door(hosts=["gpu.example"]), allowed)).status == 200


async def test_other_origins_are_closed_out_unless_allowed_and_never_get_credentials(house):
    origin = (b"origin", b"https://app.example")
    asks = (b"access-control-request-method", b"POST")
    preflight = Sent("OPTIONS", b"/prompt", headers=(HOST, origin, asks))
    sent = Sent("POST", b"/prompt", headers=(HOST, origin, bearer(house.shown)), body=b"{}")
    closed, opened = house.door(), house.door(origins=["https://app.example"])
    for each in (preflight, sent):
        answer = await send(closed, each)
        assert answer.status == 403
        assert answer.header(b"access-control-allow-origin") is None
    assert (await send(opened, preflight)).status == 204
    answer = await send(opened, sent)
    assert answer.status == 200
    assert answer.header(b"access-control-allow-origin") == b"https://app.example"
    assert answer.header(b"access-control-allow-credentials") is None


async def test_files_that_users_made_run_nothing_in_a_browser(house):
    answer = await send(house.door(), Sent("GET", b"/view", headers=(HOST, bearer(house.shown))))
    assert b"sandbox" in answer.header(b"content-security-policy")
    assert answer.header(b"x-content-type-options") == b"nosniff"


# Without keys, and proxies ----------------------------------------------------------------


async def test_without_keys_only_this_machine_comes_in_and_no_proxy(house):
    door = house.door(keyless=True)

    def asked(address, *headers):
        sent = Sent("GET", b"/queue", headers=(HOST, *headers))

        async def app(scope, receive, send_):
            scope["client"] = (address, 1)
            await door(scope, receive, send_)

        return send(app, sent)

    assert (await asked("127.0.0.1")).status == 200
    assert (await asked("::1")).status == 200
    assert (await asked("::ffff:127.0.0.1")).status == 200
    assert (await asked("192.168.1.7")).status == 403
    assert (await asked("127.0.0.1", (b"x-forwarded-for", b"127.0.0.1"))).status == 403
    assert (await asked("127.0.0.1", bearer("hf_wrong"))).status == 401


async def test_what_proxies_say_is_believed_of_trusted_ones_only_and_not_passed_on(house):
    told = (b"x-forwarded-for", b"6.6.6.6, 9.9.9.9"), (b"x-forwarded-proto", b"https")
    sent = Sent("GET", b"/queue", headers=(HOST, bearer(house.shown), *told))
    seen = json.loads((await send(house.door(), sent)).body)
    assert seen["address"] == "127.0.0.1"
    assert not [name for name, _ in seen["headers"] if name.startswith("x-forwarded")]
    answer = await send(house.door(proxies=["127.0.0.1"]), sent)
    assert json.loads(answer.body)["address"] == "9.9.9.9"
    assert answer.header(b"strict-transport-security")
    chain = house.door(proxies=["127.0.0.1", "9.9.9.0/24"])
    assert json.loads((await send(chain, sent)).body)["address"] == "6.6.6.6"


# Limits -----------------------------------------------------------------------------------


async def test_what_is_too_large_is_refused_before_the_app_sees_it(house):
    door = house.door(limits=Limits(body_bytes=10, header_bytes=2_000, target_bytes=500))
    ann = (HOST, bearer(house.shown))
    for sent, status in (
        (Sent("POST", b"/prompt", headers=ann, body=b"x" * 10), 200),
        (Sent("POST", b"/prompt", headers=ann, body=b"x" * 11), 413),
        (Sent("POST", b"/prompt", headers=(*ann, (b"content-length", b"11"))), 413),
        (Sent("POST", b"/prompt", headers=(*ann, (b"content-length", b"-1"))), 400),
        (Sent("GET", b"/queue", b"a" * 500, headers=ann), 414),
        (Sent("GET", b"/queue", headers=(*ann, (b"x", b"y" * 2_000))), 431),
    ):
        assert (await send(door, sent)).status == status


async def test_too_many_at_once_and_too_often_are_told_when_to_come_back(house):
    gate = asyncio.Event()

    async def slow(scope, receive, send_):
        await gate.wait()
        await echo(scope, receive, send_)

    ann = Sent("GET", b"/queue", headers=(HOST, bearer(house.shown)))
    door = house.door(slow, limits=Limits(concurrent=2))
    tasks = [asyncio.create_task(send(door, ann)) for _ in range(3)]
    await asyncio.sleep(0.05)
    gate.set()
    assert sorted([each.status for each in await asyncio.gather(*tasks)]) == [200, 200, 429]
    assert (await send(door, ann)).status == 200
    with FakeClock() as clock:
        house.keys.refresh()
        door = house.door(limits=Limits(rate=1.0, burst=2.0))
        assert [(await send(door, ann)).status for _ in range(3)] == [200, 200, 429]
        clock.advance(1.5)
        assert (await send(door, ann)).status == 200


# Noted, and never told --------------------------------------------------------------------


async def test_no_secret_is_logged_noted_or_shown(house, caplog):
    caplog.set_level(logging.DEBUG)
    door = house.door()
    query = b"token=" + house.shown.encode()
    cookie = (await send(door, Sent("GET", b"/", headers=(HOST, basic(house.shown))))).header(
        b"set-cookie"
    )
    for sent in (
        Sent("GET", b"/view", query),
        Sent("GET", b"/ws", query, socket=True),
        Sent("POST", b"/free", query, (HOST, bearer(house.shown))),
        Sent("POST", b"/prompt", query, (HOST, bearer(house.shown)), b"{}"),
        Sent("POST", b"/userdata/" + house.shown.encode(), b"", (HOST, bearer(house.shown))),
    ):
        await send(door, sent)
    house.audit.flush()
    entries = house.audit.read()
    assert {(each.action, each.outcome) for each in entries} >= {
        ("WEBSOCKET", "101"),
        ("POST", "403"),
        ("POST", "200"),
    }
    with house.store.engine.connect() as connection:
        rows = [str(connection.execute(sa.text(f"SELECT * FROM {name}")).all())  # noqa: S608
                for name in ("audit_entry", "api_key")]  # fmt: skip
    texts = [caplog.text, repr(entries), repr(house.key), repr(door), repr(Sessions()), *rows]
    for secret in (house.shown.split("_")[2], cookie.split(b"=")[1].split(b";")[0].decode()):
        assert not [text for text in texts if secret in text]


async def test_a_flood_of_refusals_does_not_wash_the_audit_away(house):
    door = house.door(limits=Limits(failed_logins=5))
    wrong = Sent("GET", b"/queue", headers=(HOST, bearer("hf_wrong")))
    for _ in range(500):
        await send(door, wrong)
    house.audit.flush()
    assert 1 <= len(house.audit.read(limit=1_000)) <= 40


async def test_while_the_keys_cannot_be_read_the_last_ones_are_good_for_a_minute(tmp_path):
    house = House(tmp_path)
    with FakeClock() as clock:
        ann = Sent("GET", b"/queue", headers=(HOST, bearer(house.shown)))
        door = house.door()
        house.keys.refresh()
        assert (await send(door, ann)).status == 200
        with address.writing(house.store.engine) as connection:
            connection.execute(sa.text("ALTER TABLE api_key RENAME TO elsewhere"))
        clock.advance(30)
        assert (await send(door, ann)).status == 200
        clock.advance(40)
        answer = await send(door, ann)
        assert answer.status == 503
        assert answer.header(b"retry-after") == b"5"
    house.close()


# Damaged requests -------------------------------------------------------------------------


def test_every_key_is_taken_out_of_whatever_is_shown():
    for _ in range(2_000):
        shown, parsed = key_module.new_key()
        for text in (shown, f"/userdata/{shown}", f"?token={shown}&x=1", f"got {shown!r}"):
            assert parsed.secret not in scrub(text)


@pytest.mark.parametrize("keyless", [True, False])
async def test_nothing_that_is_sent_breaks_the_door_or_hangs_it(house, keyless):
    door = house.door(keyless=keyless, limits=Limits(rate=1e6, burst=1e6, failed_logins=1e6))
    statuses = set()
    for number, made in enumerate(itertools.islice(requests(11), 4_000)):
        known = number % 4 == 0 and not keyless
        sent = replace(made, headers=(bearer(house.shown),)) if known else made
        answer = await send(door, sent)
        statuses.add(answer.status)
        assert answer.status < 500, sent
        if answer.status in {200, 101} and not sent.socket:
            told = json.loads(answer.body)
            assert "token" not in told["query"].lower() or b"%2574" in sent.query
            assert not {"authorization", "x-api-key"} & {name for name, _ in told["headers"]}
            assert ".." not in told["path"].split("/")
    assert {200, 400, 403, 405, 421, 431} <= statuses
    assert {101, 403} <= statuses


async def test_a_refusal_of_what_is_everybodys_says_why(house):
    asked = Sent("GET", b"/api/assets", headers=(HOST, bearer(house.shown)))
    answer = await send(house.door(), asked)
    assert answer.status == 403
    assert b"assets are those of all its users" in answer.body
    root, _ = house.keys.create("root", ["admin"])
    assert (await send(house.door(), replace(asked, headers=(HOST, bearer(root))))).status == 200
    near = Sent("GET", b"/api/assets", headers=(HOST,))
    assert (await send(house.door(keyless=True), near)).status == 200
