"""Texts that nobody trusts, made fit to be shown: what would steer whatever shows them becomes visible instead."""

from __future__ import annotations

# Control characters would break the notebook file or a terminal, and those that turn the direction of writing make a
# text look like another one; all are shown, none is obeyed. Tab and line feed stay.
_VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)},
    0x7F: "␡",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0xFFFE, 0xFFFF], "�"),
}


def harmless(text: str) -> str:
    r"""Return a text in which control characters are shown and half characters replaced.

    Example:
        >>> harmless("red: \x1b[31m, nothing: \x00, half: \ud800")
        'red: ␛[31m, nothing: ␀, half: ?'
    """
    return str(text).replace("\r\n", "\n").translate(_VISIBLE).encode("utf-8", "replace").decode()
