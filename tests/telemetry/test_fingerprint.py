"""Fingerprints: the same trouble has one name, different ones have different names."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.errors import ErrorCategory
from holdfast.telemetry.fingerprint import (
    KEPT_CHARACTERS,
    READ_CHARACTERS,
    digest,
    fingerprint,
    normalise,
)

SAME = [
    ("no answer within 30 s", "no answer within 4.5 s"),
    ("no answer within 300ms", "no answer within 7 seconds"),
    ("job 17 failed", "job 90210 failed"),
    ("layer12 is broken", "layer7 is broken"),
    ("tried to allocate 20.00 MiB", "tried to allocate 1.50 GiB"),
    ("<Model object at 0x7f1c2b>", "<Model object at 0x55aa01ff>"),
    (
        "prompt 123e4567-e89b-12d3-a456-426614174000 is unknown",
        "prompt f47ac10b-58cc-4372-a567-0e02b2c3d479 is unknown",
    ),
    ("commit deadbeef01 is gone", "commit 0123456789abcdef is gone"),
    ("no such file: /home/ann/out.png", "no such file: /srv/data/7/in.jpg"),
    (r"no such file: C:\Users\ann\a.png", r"no such file: D:\in\b.png"),
    ("cannot read models/vae/a.pt now", "cannot read models/unet/b.safetensors now"),
    ("~/a is full", "./b/c is full"),
    ("no model named 'flux'", "no model named 'sdxl turbo'"),
    ('no model named "flux"', 'no model named "sdxl turbo"'),
    ("no model named `flux`", "no model named `sdxl turbo`"),
    ("GET https://a.example/x?y=1 failed", "GET http://b.example:81/z failed"),
    ("down since 2026-01-02T03:04:05.678Z, sorry", "down since 2025-12-31 23:59:59, sorry"),
    ("at 12:00:01 it stopped", "at 23:59:59.123 it stopped"),
    ("cannot connect to 10.0.0.1:8188", "cannot connect to 192.168.77.3:80"),
    ("cannot connect to [::1]:8188", "cannot connect to [fe80::1]:80"),
    ("shape [1, 4, 64, 64] is wrong", "shape [2, 16, 128] is wrong"),
    ("size 512x512 is wrong", "size 1024x768 is wrong"),
    ("loss was -3e-5", "loss was 12.5"),
    ("97% full", "3.5 % full"),
    ("it\n   went\twrong", "it went wrong"),
    ("took " + "9" * 1500 + " s, " + "x" * 900, "took 1 s, " + "x" * 900),
]

APART = [
    ("HTTP 503", "HTTP 404"),
    ("HTTP/1.1 503", "HTTP/1.1 404"),
    ("[Errno 111] refused", "[Errno 113] refused"),
    ("status_code=502", "status_code=429"),
    ("exit code 137", "exit code 1"),
    ("exit code -11", "exit code -9"),
    ("exited with 137", "exited with 1"),
    ("503 Server Error: sorry", "500 Server Error: sorry"),
    ("404, message='no'", "403, message='no'"),
    ("error '503 Service Unavailable' here", "error '404 Not Found' here"),
    ("read error", "write error"),
    ("I don't know", "I can't know"),
    ("input/output error", "input error"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_varies_does_not_count(one, other):
    assert normalise(one) == normalise(other)
    assert fingerprint("E", one) == fingerprint("E", other)


@pytest.mark.parametrize(("one", "other"), APART)
def test_what_says_which_error_it_is_counts(one, other):
    assert fingerprint("E", one) != fingerprint("E", other)


def test_words_are_left_as_they_are():
    text = "Can't reach the server, don't know why: input/output error (N/A)"
    assert normalise(text) == text


def test_class_category_and_innermost_frames_count():
    frames = ("a:f", "b:g", "c:h", "d:i", "e:j")
    name = fingerprint("E", "m", frames, ErrorCategory.NETWORK)
    assert name == fingerprint("E", "m", (*frames, "f:k"), "network")
    assert name == fingerprint("E", "m", list(frames), "network")
    assert name != fingerprint("F", "m", frames, ErrorCategory.NETWORK)
    assert name != fingerprint("E", "m", frames, ErrorCategory.MEMORY)
    assert name != fingerprint("E", "m", ("x:f", *frames[1:]), ErrorCategory.NETWORK)


@given(st.text(), st.text(), st.lists(st.text(), max_size=7), st.text())
def test_a_name_is_16_hexadecimal_digits_for_any_text(error_type, message, frames, category):
    name = fingerprint(error_type, message, frames, category)
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert name == digest(error_type, message, frames, category)
    assert len(normalise(message)) <= KEPT_CHARACTERS


def test_lone_surrogates_and_null_characters_have_names():
    assert fingerprint("E", "\ud800\0\udfff") != fingerprint("E", "")


def test_the_parts_are_not_run_together():
    assert fingerprint("EA", "m") != fingerprint("E", "Am")
    assert fingerprint("E", "m", ("a", "b")) != fingerprint("E", "m", ("ab",))


def test_a_name_is_the_same_in_every_process():
    code = (
        "from holdfast.telemetry import fingerprint; print(fingerprint('E', 'HTTP 503', ['a:f']))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == fingerprint("E", "HTTP 503", ["a:f"])


PIECES = ["a", "1", "0x", "a/", "/a", "'", '"', "1.", "1,", "-1 ", "a.b-", "~/", "[1:", "ab://",
          "deadbeef-", "12:34:56", "é", "²", "code 1 ", "exited with ", "\n", "C:\\"]  # fmt: skip


@pytest.mark.parametrize("piece", PIECES)
def test_ten_megabytes_of_anything_take_milliseconds(piece):
    message = piece * (10_000_000 // len(piece))
    began = time.perf_counter()
    fingerprint("E", message)
    assert time.perf_counter() - began < 0.5


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=4))
def test_reading_costs_no_more_than_in_proportion(pieces):
    """A pattern that tried everything with everything would need seconds here."""
    message = ("".join(pieces) * READ_CHARACTERS)[:READ_CHARACTERS]
    began = time.perf_counter()
    normalise(message)
    assert time.perf_counter() - began < 0.25
