"""Finding JSON in text that is not JSON, in a time that no answer can make long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from promptcard_ext.core.assertions.limits import TooComplex
from promptcard_ext.core.identity import refuse_constant

# Characters read in vain, for every bracket that opens no value. An ordinary answer has a few such brackets; one that
# was cut off inside of ten levels reads its end ten times.
_VAIN_CHARS = 20_000_000
# Reading stops at about a thousand levels; it takes far less time than this many characters.
_DEEP_CHARS = 20_000
_START = re.compile(r'\{\s*["}]|\[\s*["\[\]{tfn0-9-]')


def json_values(text: str) -> Iterator[tuple[Any, int, int]]:
    """Yield each JSON object and array in ``text``, with its start and end; those inside of another are part of it.

    Raises:
        TooComplex: There are too many beginnings of values that come to nothing.

    Example:
        >>> list(json_values('Sure {here}: {"a": [1]}, and [2]'))
        [({'a': [1]}, 13, 23), ([2], 29, 32)]
    """
    decoder = json.JSONDecoder(parse_constant=refuse_constant)
    vain = position = 0
    while (start := _START.search(text, position)) is not None:
        try:
            value, end = decoder.raw_decode(text, start.start())
        except json.JSONDecodeError as error:
            # Where it stopped, and a look at what is before it: the error counts the lines.
            vain += error.pos - start.start() + _counting_lines(error.pos)
        except RecursionError:
            vain += _DEEP_CHARS
        except ValueError:  # NaN, or a number too long: it does not say where.
            vain += len(text) - start.start()
        else:
            yield value, start.start(), end
            position = end
            continue
        if vain > _VAIN_CHARS:
            raise TooComplex
        position = start.start() + 1


def _counting_lines(chars: int) -> int:
    """Return what counting the lines in ``chars`` characters takes, in characters read as JSON."""
    return 10 + chars // 16
