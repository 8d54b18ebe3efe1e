"""A browser, as far as logging in goes: cookies, redirects, one form."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from http.cookiejar import CookieJar

from tests.hub.hub import Answer, Hub


class Browser:
    """Keeps cookies and follows redirects."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def cookie(self, name: str, path: str) -> str:
        """Return the value of a cookie, or nothing."""
        return next((str(one.value) for one in self.cookies if (one.name, one.path) == (name, path)), "")

    def get(self, url: str, **headers: str) -> Answer:
        """Open a page, as somebody does who follows a link."""
        navigate = {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
        return self._open(urllib.request.Request(url, headers={**navigate, **headers}))

    def post(self, url: str, body: bytes, content_type: str, **headers: str) -> Answer:
        """Send something, as a page of the same site does."""
        sent = {"Content-Type": content_type, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", **headers}
        return self._open(urllib.request.Request(url, body, sent))

    def post_json(self, url: str, body: object, **headers: str) -> Answer:
        """Send JSON."""
        return self.post(url, json.dumps(body).encode(), "application/json", **headers)

    def log_in(self, name: str) -> None:
        """Fill in the Hub's login form."""
        page = f"{self.hub.url}/hub/login"
        self.get(page)
        form = {"username": name, "password": "x", "_xsrf": self.cookie("_xsrf", "/hub/")}
        answer = self.post(page, urllib.parse.urlencode(form).encode(), "application/x-www-form-urlencoded")
        assert self.cookie("jupyterhub-hub-login", "/hub/"), answer

    def _open(self, request: urllib.request.Request) -> Answer:
        try:
            with self._opener.open(request, timeout=60) as response:
                return Answer(response.status, response.headers, response.read())
        except urllib.error.HTTPError as refusal:
            with refusal:
                return Answer(refusal.code, refusal.headers, refusal.read())
