"""Make the labextension that JupyterLab loads: ``python labextension/build.py``.

There is no bundler: browsers load the modules in ``src`` as they are. Building is to put them below a folder whose name
changes with them, so that no cache gives an old one, and to write the entry that names it. The same sources always give
the same bytes, and nothing but Python is needed.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parent / "server_ext" / "labextensions" / "promptcards"
CONTAINER = "container.js"


def built() -> dict[str, bytes]:
    """Return all files of the labextension by their path in it."""
    sources = {path.name: path.read_bytes() for path in sorted((HERE / "src").iterdir())}
    container = sources.pop(CONTAINER)
    folder = _hash(*(part for name in sources for part in (name.encode(), sources[name])))
    entry = container.replace(b"__HASH__", folder.encode())
    load = f"static/remoteEntry.{_hash(entry)}.js"
    files = {f"static/{folder}/{name}": text for name, text in sources.items()}
    return {"package.json": _package(load), load: entry, **files}


def _hash(*parts: bytes) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _package(load: str) -> bytes:
    package = json.loads((HERE / "package.json").read_text("utf-8"))
    wanted = {name: package[name] for name in ("name", "description", "license")}
    version = re.search(r'__version__ = "(.+)"', (HERE.parent / "promptcard_ext" / "_version.py").read_text("utf-8"))
    assert version is not None
    build = {"load": load, "extension": "./extension"}
    whole = {**wanted, "version": version.group(1), "jupyterlab": {"_build": build}}
    return (json.dumps(whole, indent=2) + "\n").encode()


def write(target: Path) -> None:
    """Write the files, and remove those of earlier builds."""
    files = built()
    for path in sorted(target.rglob("*"), reverse=True):
        if path.is_dir():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.relative_to(target).as_posix() not in files:
            path.unlink()
    for name, text in files.items():
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)


if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET)
