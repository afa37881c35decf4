"""Server addresses: what people type, what is refused, and what is never shown."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.comfyui.address import Address
from holdfast.errors import BadInputError

SECRET = "hunter2"
relaxed = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("gpu1", "http://gpu1:8188"),
        ("gpu1:9000", "http://gpu1:9000"),
        ("gpu1:", "http://gpu1:8188"),
        ("gpu1/", "http://gpu1:8188"),
        ("gpu1:8188/", "http://gpu1:8188"),
        ("127.0.0.1", "http://127.0.0.1:8188"),
        ("localhost:8188", "http://localhost:8188"),
        ("  gpu1:8188\n", "http://gpu1:8188"),
        ("[::1]:8188", "http://[::1]:8188"),
        ("[::1]", "http://[::1]:8188"),
        ("gpu1/comfy", "http://gpu1:8188/comfy"),
        ("http://gpu1:8188", "http://gpu1:8188"),
        ("http://gpu1:8188///", "http://gpu1:8188"),
        ("http://gpu1", "http://gpu1"),
        ("HTTP://GPU1:8188", "http://gpu1:8188"),
        ("https://host/path/", "https://host/path"),
        ("https://host:8443/a/b", "https://host:8443/a/b"),
        ("http://[fe80::1]:8188/x", "http://[fe80::1]:8188/x"),
        ("https://abc-8188.proxy.runpod.net", "https://abc-8188.proxy.runpod.net"),
    ],
)
def test_what_people_type_is_understood(typed, url):
    address = Address.parse(typed)
    assert address.url == address.shown == str(address) == url
    assert address.user is None
    assert address.password is None


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "no host in it"),
        ("   ", "no host in it"),
        ("http://", "no host in it"),
        (":8188", "no host in it"),
        ("gpu 1", "no host in it"),
        ("ftp://gpu1", "the scheme must be http or https, such as http"),
        ("ws://gpu1:8188", "the scheme must be http or https"),
        ("file:///etc/passwd", "the scheme must be http or https"),
        ("gpu1:port", "[Pp]ort"),
        ("gpu1:99999", "[Pp]ort"),
        ("http://[::1", ""),
        ("http://gpu1:8188/?token=x", "nothing may follow the path"),
        ("http://gpu1:8188/#tab", "nothing may follow the path"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(typed, words):
    with pytest.raises(BadInputError, match=f"server address .*{words}"):
        Address.parse(typed)


@pytest.mark.parametrize(
    ("typed", "user", "password"),
    [
        (f"http://me:{SECRET}@gpu1:8188", "me", SECRET),
        (f"me:{SECRET}@gpu1:8188", "me", SECRET),
        ("http://me@gpu1:8188", "me", None),
        (f"http://me:{SECRET}@x@gpu1:8188", "me", f"{SECRET}@x"),
        ("http://me:p%40ss%2Fw%23rd@gpu1:8188", "me", "p@ss/w#rd"),
        ("http://me%40firm.com:x@gpu1:8188", "me@firm.com", "x"),
    ],
)
def test_credentials_are_kept_apart_from_the_url(typed, user, password):
    address = Address.parse(typed)
    assert address.url == "http://gpu1:8188"
    assert (address.user, address.password) == (user, password)


def test_no_way_of_showing_an_address_shows_its_password():
    address = Address.parse(f"http://me:{SECRET}@gpu1:8188")
    for shown in (address.shown, str(address), f"{address}", repr(address), f"{[address]}"):
        assert SECRET not in shown


@pytest.mark.parametrize(
    "typed",
    [
        f"ftp://me:{SECRET}@gpu1",
        f"http://me:{SECRET}@",
        f"http://me:{SECRET}@gpu1:port",
        f"http://me:{SECRET}@gpu1:99999",
        f"http://me:{SECRET}@gpu 1",
        f"http://me:{SECRET}@gpu1/?a=b",
        f"http://me:{SECRET}@[::1",
        f"me:{SECRET}@gpu1:port",
        f"http://me:{SECRET}#1@gpu1:8188",
        f"http://me:{SECRET}/1@gpu1:8188",
        f"http://me:{SECRET}?1@gpu1:8188",
        f"http://me:{SECRET}@ex\u2100mple.com",
    ],
)
def test_no_refusal_shows_a_password(typed):
    with pytest.raises(BadInputError) as caught:
        Address.parse(typed)
    assert SECRET not in str(caught.value)


@relaxed
@given(st.text() | st.text(alphabet="ab1:/@[]?#.%- \t\u2100"))
def test_any_text_is_an_address_or_bad_input(typed):
    try:
        address = Address.parse(typed)
    except BadInputError:
        return
    parts = urlsplit(address.url)
    assert parts.scheme in ("http", "https")
    assert parts.hostname
    assert "@" not in parts.netloc
    assert not address.url.endswith("/")
    assert Address.parse(address.url).url == address.url


@pytest.mark.parametrize("typed", ["http:/gpu1:8188", "https:gpu1", "HTTP:gpu1:8188"])
def test_a_scheme_without_its_slashes_is_no_host_name(typed):
    with pytest.raises(BadInputError, match="two slashes"):
        Address.parse(typed)
