"""Price files: a user's own prices, in YAML or JSON."""

from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import platformdirs
from msgspec import UNSET, Struct

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.identity import digest
from promptcard_ext.core.pricing import Price, PriceBook, shipped_prices
from promptcard_ext.interchange.yaml_document import Place, YamlDocument, read_text

ALWAYS = date(1970, 1, 1)


class _Layout(Struct, forbid_unknown_fields=True):
    prices: list[dict[str, Any]]


def load_price_file(path: str | Path) -> tuple[Price, ...]:
    """Read a price file.

    Raises:
        FileError: It cannot be read, or a price in it does not fit (``price_file_invalid``, with file and line).
    """
    path = Path(path)
    document = YamlDocument(read_text(path), str(path))
    layout: _Layout = _convert(document, document.value, _Layout, ())
    found: dict[tuple[str, str, date], int] = {}
    prices = []
    for index, row in enumerate(layout.prices):
        price = _price(document, row, index)
        first = found.setdefault((price.provider, price.model, price.valid_from), index)
        if first != index:
            line = document.line(("prices", first))
            raise _invalid(document, f"the same provider, model and day are on line {line} already", ("prices", index))
        prices.append(price)
    return tuple(prices)


def price_book(path: str | Path | None = None) -> PriceBook:
    """Return the shipped prices, with the user's own before them.

    Args:
        path: Price file; default ``PROMPTCARDS_PRICES``, else ``prices.yaml`` or ``prices.json`` in the user's
            configuration directory, else none.

    Raises:
        FileError: As `load_price_file` says.
    """
    chosen = path or os.environ.get("PROMPTCARDS_PRICES") or _in_user_directory()
    return shipped_prices().overridden(load_price_file(chosen)) if chosen else shipped_prices()


def _in_user_directory() -> Path | None:
    folder = platformdirs.user_config_path("promptcards", appauthor=False)
    return next((path for name in ("prices.yaml", "prices.json") if (path := folder / name).exists()), None)


def _price(document: YamlDocument, row: dict[str, Any], index: int) -> Price:
    place = ("prices", index)
    if "row_id" in row:
        raise _invalid(document, "'row_id' is not for you to set", (*place, "row_id"))
    given = {"source": f"your price file {document.name}", "valid_from": ALWAYS, "output_per_mtok": UNSET, **row}
    if given["output_per_mtok"] is UNSET:
        hint = "Write 'output_per_mtok: null' for a model that writes nothing, such as an embedding model."
        raise _invalid(document, "'output_per_mtok' is missing", place, hint)
    price: Price = _convert(document, given, Price, place)
    # Another price under the same name and day is another price: its id says so.
    content = msgspec.to_builtins(price, builtin_types=())
    return msgspec.structs.replace(price, row_id=_uuid(digest(content)))


def _uuid(digits: str) -> str:
    return "-".join(digits[start:end] for start, end in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))


def _convert(document: YamlDocument, value: Any, kind: type, place: Place) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        detail, _, path = str(error).partition(" - at `$")
        inner = tuple(int(i) if i else k for k, i in re.findall(r"\.(\w+)|\[(\d+)\]", path.rstrip("`")))
        raise _invalid(document, detail[:1].lower() + detail[1:], place + inner) from None


def _invalid(document: YamlDocument, problem: str, place: Place, hint: str = "") -> FileError:
    where = ".".join(str(part) for part in place) or "the file"
    message = f"{document.name}, line {document.line(place)}: {where}: {problem:.300}."
    return FileError(message, code="price_file_invalid", hint=hint)
