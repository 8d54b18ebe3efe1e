"""Headers that keep browsers from doing what nobody meant: on our answers, and on Jupyter's own pages beside them."""

from __future__ import annotations

from collections.abc import MutableMapping

YEAR_S = 31_536_000
HSTS = f"max-age={YEAR_S}; includeSubDomains"

JSON_CSP = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
"""An answer is no page: should a browser ever show one, it may do nothing."""

JSON_HEADERS = {
    "Content-Type": "application/json; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

# JupyterLab compiles schemas, loads blobs as workers and shows PDF files as objects: scripts are not restricted there.
_LAB_CSP = "frame-ancestors 'self'; base-uri 'self'; form-action 'self'; object-src 'self' blob:"
# Without JupyterLab there is Jupyter's login page, which has scripts of its own in it.
_ALONE_CSP = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "font-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)


def harden_pages(headers: MutableMapping[str, str], *, alone: bool, tls: bool) -> None:
    """Add to Jupyter's own headers what the operator has not set otherwise.

    Args:
        alone: Whether there is no JupyterLab beside us.
        tls: Whether Jupyter itself speaks TLS; behind a proxy, that one sends HSTS.
    """
    headers.setdefault("Content-Security-Policy", _ALONE_CSP if alone else _LAB_CSP)
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("X-Frame-Options", "DENY" if alone else "SAMEORIGIN")
    if tls:
        headers.setdefault("Strict-Transport-Security", HSTS)
