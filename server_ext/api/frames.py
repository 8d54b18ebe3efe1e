"""Frames of a websocket that are the same for all who get them, made once."""

from __future__ import annotations

import struct

_TEXT = 0x81
"""A text message in a single frame, without a mask: RFC 6455, section 5.2."""


def text_frame(data: bytes | memoryview) -> bytes:
    """Return a message of UTF-8 text as a server sends it, without compression."""
    if len(data) < 126:
        head = struct.pack("!BB", _TEXT, len(data))
    elif len(data) <= 0xFFFF:
        head = struct.pack("!BBH", _TEXT, 126, len(data))
    else:
        head = struct.pack("!BBQ", _TEXT, 127, len(data))
    return head + data
