"""Reading JSON from answers, the whole or a part of it, in a time that no answer can make long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from promptcard_ext.core.assertions.base import Finding
from promptcard_ext.core.assertions.limits import TOO_DEEP, TooComplex, too_long
from promptcard_ext.core.identity import refuse_constant
from promptcard_ext.core.results import Outcome

# Characters read in vain, for every bracket that opens no value. An ordinary answer has a few such brackets; one that
# was cut off inside of ten levels reads its end ten times.
_VAIN_CHARS = 20_000_000
# Reading stops at about a thousand levels; it takes far less time than this many characters.
_DEEP_CHARS = 20_000
_START = re.compile(r'\{\s*["}]|\[\s*["\[\]{tfn0-9-]')
# Python reads no longer number from a text; it would take quadratic time.
_LONG_NUMBER = Finding(Outcome.UNSCORED, "answer_too_complex", "The answer has a number too long to be read.")


class Unread(Exception):
    """The text was not read as JSON; has what is found instead."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def read_json(text: str) -> Any:
    """Return the value of a text that is JSON, without NaN and infinities.

    Raises:
        Unread: It is not JSON (a fail), or too long or too deep to say (unscored).
    """
    if (unread := too_long(text)) is not None:
        raise Unread(unread)
    try:
        return json.loads(text, parse_constant=refuse_constant)
    except RecursionError:
        raise Unread(TOO_DEEP) from None
    except ValueError as error:
        if not isinstance(error, json.JSONDecodeError) and "digits" in str(error):
            raise Unread(_LONG_NUMBER) from None
        raise Unread(Finding(Outcome.FAIL, "not_json", f"The answer is not JSON: {error!s:.200}.")) from None


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
