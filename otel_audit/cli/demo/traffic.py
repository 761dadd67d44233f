"""Real requests by three people: one may do everything, one is denied, one does not get in."""

from __future__ import annotations

import http.cookiejar
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Answered:
    """One request and how it was answered."""

    who: str
    method: str
    path: str
    status: int


class Browser:
    """Somebody's browser: keeps the session's cookie, and notes what was answered."""

    def __init__(self, who: str, address: str) -> None:
        self.answered: list[Answered] = []
        self._who = who
        self._address = address
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # No proxies: the demonstration speaks to loopback only, whatever http_proxy says
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)

    def send(self, method: str, path: str, form: Mapping[str, str] | None = None) -> None:
        """Send one request; an error status is an answer like any other.

        Raises:
            OSError: no answer came.
        """
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        request = urllib.request.Request(self._address + path, data, method=method)  # noqa: S310 - loopback, http
        request.add_header("User-Agent", "demo-browser/1.0")
        try:
            with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                response.read()
                status = response.status
        except urllib.error.HTTPError as error:
            status = error.code
            error.close()
        self.answered.append(Answered(self._who, method, path, status))


def alice(address: str, password: str) -> list[Answered]:
    """The manager reads, writes, deletes."""
    browser = Browser("alice", address)
    browser.send("POST", "/sign-in", {"name": "alice", "password": password})
    browser.send("GET", "/customers")
    browser.send("GET", "/customers/1")
    browser.send("POST", "/customers/1/notes", {"text": "Asked for a copy of her data."})
    browser.send("DELETE", "/customers/3")
    browser.send("POST", "/sign-out", {})
    return browser.answered


def bob(address: str, password: str) -> list[Answered]:
    """The clerk reads, and is denied what only managers may do."""
    browser = Browser("bob", address)
    browser.send("POST", "/sign-in", {"name": "bob", "password": password})
    browser.send("GET", "/customers/2")
    browser.send("DELETE", "/customers/2")
    return browser.answered


def mallory(address: str) -> list[Answered]:
    """A stranger guesses a password, and tries without."""
    browser = Browser("mallory", address)
    browser.send("POST", "/sign-in", {"name": "alice", "password": "letmein"})
    browser.send("GET", "/customers/1")
    return browser.answered


def next_morning(address: str, password: str) -> list[Answered]:
    """The clerk is back at the desk."""
    browser = Browser("bob", address)
    browser.send("POST", "/sign-in", {"name": "bob", "password": password})
    browser.send("GET", "/customers/1")
    return browser.answered
