"""Which addresses are asked, and who gets a token."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from holdfast.comfyui.models.errors import DownloadRefusedError
from holdfast.comfyui.models.gate import Gate, is_private, is_public
from holdfast.comfyui.models.resolver import GuardedResolver, guarded_session
from holdfast.errors import BadInputError


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/a.pth",
        "ftp://models.example/a.pth",
        "file:///etc/passwd",
        "https://user:secret@models.example/a.pth",
        "https:///a.pth",
        "https://[::1/a.pth",
        "https://127.0.0.1/a.pth",
        "https://localhost/a.pth",
        "https://x.localhost./a.pth",
        "https://10.1.2.3/a.pth",
        "https://192.168.0.1/a.pth",
        "https://169.254.169.254/latest/meta-data",
        "https://100.64.0.1/a.pth",
        "https://0.0.0.0/a.pth",
        "https://224.0.0.1/a.pth",
        "https://[::1]/a.pth",
        "https://[::ffff:10.0.0.1]/a.pth",
        "https://[64:ff9b::a00:1]/a.pth",
        "https://[2002:a00:1::]/a.pth",
        "https://[fe80::1%25eth0]/a.pth",
        "https://2130706433/a.pth",
        "https://0x7f.1/a.pth",
        "https://127.1/a.pth",
    ],
)
def test_what_is_not_of_the_open_net_is_refused(url):
    with pytest.raises(DownloadRefusedError) as raised:
        Gate().check(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    "url", ["https://huggingface.co/a", "https://1.1.1.1/a", "https://[2606:4700::1111]/a"]
)
def test_the_open_net_is_asked_over_https(url):
    Gate().check(url)


def test_a_host_the_user_trusts_may_be_private_and_plain():
    gate = Gate.of(["Mirror.lan", "127.0.0.1:8000"], None)
    gate.check("http://mirror.lan:99/a")
    gate.check("http://127.0.0.1:8000/a")
    for url in ("http://127.0.0.1:8001/a", "http://mirror.lan.evil.example/a"):
        with pytest.raises(DownloadRefusedError):
            gate.check(url)


def test_a_token_goes_to_its_host_and_port_and_over_https_alone():
    gate = Gate.of([], {"Hub.example": "t0ken", "other.example:8443": "x"})
    assert gate.headers("https://hub.example/a") == {"Authorization": "Bearer t0ken"}
    assert gate.headers("https://other.example:8443/a") == {"Authorization": "Bearer x"}
    for url in (
        "http://hub.example/a",
        "https://hub.example:444/a",
        "https://cdn.hub.example/a",
        "https://hub.example.evil.example/a",
        "https://other.example/a",
    ):
        assert gate.headers(url) == {}
    assert "t0ken" not in repr(gate)


@pytest.mark.parametrize(
    ("trusted", "tokens"),
    [
        ("mirror", None),
        (["https://mirror"], None),
        ([""], None),
        ([], {"h": ""}),
        ([], {"h": "a\n"}),
    ],
)
def test_settings_that_cannot_work_are_refused(trusted, tokens):
    with pytest.raises(BadInputError):
        Gate.of(trusted, tokens)


def test_addresses_wrapped_in_others_are_seen_through():
    assert is_public(ipaddress.ip_address("64:ff9b::101:101"))
    assert not is_private("models.example")
    assert is_private("[::1]")


class Lying:
    """A resolver that answers with these addresses."""

    def __init__(self, *addresses):
        self.addresses = addresses

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": each, "port": port, "family": family, "proto": 0, "flags": 0}
            for each in self.addresses
        ]

    async def close(self):
        pass


async def test_a_name_that_stands_for_a_private_address_is_refused():
    resolver = GuardedResolver(Gate(), Lying("1.1.1.1", "10.0.0.1"))
    with pytest.raises(DownloadRefusedError, match=r"evil\.example leads to an address of a priv"):
        await resolver.resolve("evil.example", 443)
    assert await GuardedResolver(Gate(), Lying("1.1.1.1")).resolve("good.example", 443)
    trusting = GuardedResolver(Gate.of(["mine.lan"], None), Lying("10.0.0.1"))
    assert await trusting.resolve("mine.lan", 80)
    await resolver.close()


async def test_a_download_s_own_session_looks_names_up_through_the_gate():
    async with guarded_session(Gate(), connect_seconds=5, idle_seconds=5) as session:
        with pytest.raises(DownloadRefusedError, match="localhost leads to"):
            await session.get("https://localhost:1/a")
