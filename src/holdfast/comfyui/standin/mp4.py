"""Motion JPEG in an MP4 file, with nothing but bytes.

One video track of JPEG samples (``mp4v`` with object type 0x6C, as FFmpeg names
MJPEG in MP4), stored in one chunk, ``moov`` before ``mdat`` so that players need
not seek. FFmpeg, mpv and VLC play it; web browsers do not know the codec.

Boxes follow ISO/IEC 14496-12 (and -14 for ``esds``): four bytes of size that
count themselves, four of type, then content; all integers big-endian. Text goes
into ``moov/meta`` as ``mdta`` keys. Bytes in, bytes out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import pack

_JPEG_IN_MP4 = 0x6C
_MATRIX = pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)


def mux_jpegs(
    frames: Sequence[bytes],
    *,
    width: int,
    height: int,
    fps: float,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """Return an MP4 file that shows `frames` one after the other.

    Args:
        frames: Complete JPEG files of the given size; at least one.
        width: Pixels, at most 65535.
        height: Pixels, at most 65535.
        fps: Frames a second, kept to a thousandth.
        text: Metadata to keep in the file, by name.

    Raises:
        ValueError: no frames, or more bytes than 32-bit offsets can address.
    """
    if not frames:
        raise ValueError("a video needs at least one frame")
    head = _box(b"ftyp", b"isom", pack(">I", 0x200), b"isomiso2mp41")
    # The offset of the samples depends on the length of `moov`, which does not
    # depend on the offset's value: build it twice.
    length = len(_movie(frames, width, height, fps, text or {}, offset=0))
    offset = len(head) + length + 8
    if offset + sum(map(len, frames)) > 0xFFFFFFFF:
        raise ValueError("more than 4 GiB do not fit in this kind of file")
    movie = _movie(frames, width, height, fps, text or {}, offset=offset)
    return b"".join((head, movie, _box(b"mdat", *frames)))


def _box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return pack(">I", 8 + len(body)) + kind + body


def _full(kind: bytes, flags: int, *content: bytes) -> bytes:
    """Make a box that begins with version 0 and `flags`."""
    return _box(kind, pack(">I", flags), *content)


def _movie(
    frames: Sequence[bytes],
    width: int,
    height: int,
    fps: float,
    text: Mapping[str, str],
    *,
    offset: int,
) -> bytes:
    scale = max(1, round(fps * 1000))
    length = 1000 * len(frames)
    times = pack(">IIII", 0, 0, scale, length)
    return _box(
        b"moov",
        _full(b"mvhd", 0, times, pack(">IH10x", 0x10000, 0x100), _MATRIX, bytes(24), pack(">I", 2)),
        _box(
            b"trak",
            _full(
                b"tkhd",
                3,  # enabled, in the movie
                pack(">IIIII16x", 0, 0, 1, 0, length),  # then layer, group, volume: 0
                _MATRIX,
                pack(">II", width << 16, height << 16),
            ),
            _box(
                b"mdia",
                _full(b"mdhd", 0, times, pack(">HH", 0x55C4, 0)),  # language: undetermined
                _handler(b"vide"),
                _box(
                    b"minf",
                    _full(b"vmhd", 1, bytes(8)),
                    _box(b"dinf", _full(b"dref", 0, pack(">I", 1), _full(b"url ", 1))),
                    _sample_table(frames, width, height, offset),
                ),
            ),
        ),
        _text(text),
    )


def _sample_table(frames: Sequence[bytes], width: int, height: int, offset: int) -> bytes:
    count = len(frames)
    sizes = [len(frame) for frame in frames]
    entry = _box(
        b"mp4v",
        pack(">6xH16x", 1),
        pack(">HHIIIH", width, height, 0x480000, 0x480000, 0, 1),
        bytes(32),
        pack(">Hh", 24, -1),
        _decoder(max(sizes)),
    )
    return _box(
        b"stbl",
        _full(b"stsd", 0, pack(">I", 1), entry),
        _full(b"stts", 0, pack(">III", 1, count, 1000)),
        _full(b"stsc", 0, pack(">IIII", 1, 1, count, 1)),
        _full(b"stsz", 0, pack(">II", 0, count), pack(f">{count}I", *sizes)),
        _full(b"stco", 0, pack(">II", 1, offset)),
    )


def _decoder(largest: int) -> bytes:
    config = pack(">BB", _JPEG_IN_MP4, 0x11) + min(largest, 0xFFFFFF).to_bytes(3, "big") + bytes(8)
    return _full(
        b"esds",
        0,
        _descriptor(3, pack(">HB", 1, 0), _descriptor(4, config), _descriptor(6, b"\x02")),
    )


def _descriptor(tag: int, *content: bytes) -> bytes:
    body = b"".join(content)
    return bytes((tag, len(body))) + body


def _handler(kind: bytes) -> bytes:
    return _full(b"hdlr", 0, bytes(4), kind, bytes(12), b"\0")


def _text(text: Mapping[str, str]) -> bytes:
    names = [_box(b"mdta", name.encode()) for name in text]
    values = [
        _box(pack(">I", place), _box(b"data", pack(">II", 1, 0), value.encode()))
        for place, value in enumerate(text.values(), start=1)
    ]
    keys = _full(b"keys", 0, pack(">I", len(names)), *names)
    return _box(b"meta", _handler(b"mdta"), keys, _box(b"ilst", *values)) if text else b""
