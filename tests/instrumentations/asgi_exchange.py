"""One ASGI exchange without a server: what an application is given, and what it sends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import urlsplit

Application: TypeAlias = Callable[..., Awaitable[None]]


@dataclass
class Exchange:
    """What became of one request."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    is_complete: bool = False


def connection(method: str, url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    """An ASGI scope, as uvicorn makes it."""
    parts = urlsplit(url)
    sent = {"host": "testserver", **{name.lower(): value for name, value in (headers or {}).items()}}
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "root_path": "",
        "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        "client": ("127.0.0.1", 40000),
        "server": ("127.0.0.1", 8000),
    }


async def exchange(
    app: Application,
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    *,
    hang_up_after: Callable[[Exchange], bool] = lambda found: False,
) -> Exchange:
    """Ask *app*; the client leaves as soon as *hang_up_after* says so, and at the latest when it has its answer."""
    found = Exchange()
    bodies = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> dict[str, Any]:
        if bodies:
            return bodies.pop()
        while not found.is_complete and not hang_up_after(found):
            await asyncio.sleep(0.001)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            found.status = message["status"]
            found.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            found.body += message.get("body", b"")
            found.is_complete = not message.get("more_body", False)
        await asyncio.sleep(0)

    await app(connection(method, url, headers), receive, send)
    return found
