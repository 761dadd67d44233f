"""`verify --witness`: heads noted elsewhere, in a file or behind a real HTTP server that is not always kind."""

from __future__ import annotations

import gzip
import json
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import orjson
import pytest

from otel_audit.cli import witness
from otel_audit.cli.witness import read_witness
from otel_audit.errors import SourceError
from otel_audit.evidence.canonical import record_hash

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Cli

Answer = Callable[[socket.socket], None]
REFERENCE = f"{'a' * 32}:7:{'b' * 64}"


class Server:
    """Answers each connection with raw bytes; counts them."""

    def __init__(self) -> None:
        self.answer: Answer = lambda _: None
        self.requests: list[bytes] = []
        self.closing = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/heads"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                self.requests.append(connection.recv(65536))
                try:
                    self.answer(connection)
                except OSError:
                    continue

    def says(self, body: bytes, *, status: str = "200 OK", length: int | None = None, headers: str = "") -> None:
        """Answer with this from now on; *length*: what content-length claims."""
        claimed = len(body) if length is None else length
        head = f"HTTP/1.1 {status}\r\ncontent-length: {claimed}\r\nconnection: close\r\n{headers}\r\n".encode()
        self.answer = lambda connection: connection.sendall(head + body)

    def close(self) -> None:
        self.closing.set()
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def head(log: Path) -> str:
    """The reference of the log's close, record 9."""
    (path,) = log.rglob("*.jsonl")
    close = path.read_bytes().splitlines()[-1]
    return f"{orjson.loads(close)['stream']}:9:{record_hash(close)}"


def kinds(printed: str) -> list[str]:
    return [finding["kind"] for finding in json.loads(printed)["findings"]]


def cut_off(log: Path) -> None:
    (path,) = log.rglob("*.jsonl")
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def test_a_witness_behind_http_finds_a_cut_end(cli: Cli, log: Path, head: str, server: Server) -> None:
    server.says(f"# noted by another machine\r\n{head}\r\n".encode())
    assert cli("verify", "--witness", server.url).status == 0
    cut_off(log)

    ran = cli("verify", "--witness", server.url, "--json")

    assert ran.status == 1
    assert "truncated" in kinds(ran.out)


def test_a_witness_with_another_hash_says_altered(cli: Cli, log: Path, head: str, server: Server) -> None:
    server.says((head[:-64] + "0" * 64).encode())

    assert kinds(cli("verify", "--witness", server.url, "--json").out) == ["altered"]


def test_files_and_addresses_are_read_together(tmp_path: Path, server: Server) -> None:
    path = tmp_path / "heads"
    path.write_bytes(b"\xef\xbb\xbf" + REFERENCE.encode())
    server.says(f"{REFERENCE.replace(':7:', ':8:')} # the next\n\n".encode())

    assert [reference.seq for reference in read_witness([str(path), server.url])] == [7, 8]


@pytest.mark.parametrize(
    ("head", "body", "says"),
    [
        ("404 Not Found", b"no", "the witness answers 404 Not Found"),
        ("401 Unauthorized", b"", "the witness answers 401 Unauthorized"),
        ("500 Oops", b"", "the witness answers 500 Oops"),
        ("204 No Content", b"", "the witness answers 204 No Content"),
        ("200 OK", b"", "the witness names no record"),
        ("200 OK", b"# nothing yet\n", "the witness names no record"),
        ("200 OK", b"<html>sign in</html>", "line 1: '<html>sign in</html>': expected <stream>:<seq>:<hash>"),
        ("200 OK", b"\xff\xfe\x00garbage\x1b[2J", "line 1: '"),
        ("200 OK", REFERENCE.encode() + b"\n" + REFERENCE[:-1].encode(), "line 2: 'aaaa"),
        ("200 OK", REFERENCE.encode("utf-16"), "line 1: '"),
        ("200 OK\r\ncontent-encoding: gzip", gzip.compress(REFERENCE.encode()), "line 1: '"),
    ],
)
def test_an_answer_that_is_no_witness_is_unreadable(
    head: str, body: bytes, says: str, cli: Cli, server: Server
) -> None:
    server.says(body, status=head)

    ran = cli("verify", "--witness", server.url)

    assert (ran.status, ran.out) == (2, "")
    assert f"otel-audit: {server.url}" in ran.err
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert "\x1b" not in ran.err


def test_a_redirect_is_followed_to_nobody(cli: Cli, log: Path, server: Server) -> None:
    """Whom the answer points to was not named as a witness."""
    other = Server()
    other.says(REFERENCE.encode())
    server.says(b"", status="302 Found", headers=f"location: {other.url}\r\n")

    ran = cli("verify", "--witness", server.url)
    other.close()

    assert ran.status == 2
    assert f"answers 302 and points to '{other.url}': name that, if you trust it" in ran.err
    assert other.requests == []


def test_half_an_answer_is_no_witness(cli: Cli, log: Path, head: str, server: Server) -> None:
    """What is missing could be the very head that shows the cut."""
    server.says(f"{head}\n".encode(), length=1000)
    ran = cli("verify", "--witness", server.url)
    assert (ran.status, ran.out) == (2, "")
    assert "its answer broke off" in ran.err

    body = f"{head}\n".encode()
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + f"{len(body):x}\r\n".encode() + body
    server.answer = lambda connection: connection.sendall(chunked)
    ran = cli("verify", "--witness", server.url)
    assert (ran.status, ran.out) == (2, "")
    assert "its answer broke off" in ran.err


def test_an_endless_answer_ends(server: Server) -> None:
    line = REFERENCE.encode() + b"\n"

    def pour(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        while not server.closing.is_set():
            connection.sendall(line * 1000)

    server.answer = pour
    with pytest.raises(SourceError, match="longer than 64 MiB"):
        read_witness([server.url])


@pytest.mark.parametrize("sends", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10000\r\n\r\n"])
def test_a_silent_witness_ends(sends: bytes, server: Server) -> None:
    def fall_silent(connection: socket.socket) -> None:
        connection.sendall(sends)
        server.closing.wait(60)

    server.answer = fall_silent
    with pytest.raises(SourceError, match="answer"):
        read_witness([server.url], patience_s=0.5)
    server.closing.set()


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: "])
def test_a_witness_that_drips_ends(head: bytes, server: Server) -> None:
    """Each byte comes in time; the whole does not."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(head)
        while not server.closing.wait(0.02):
            connection.sendall(b"a")

    server.answer = drip
    began_s = time.monotonic()
    with pytest.raises(SourceError, match=r"does not answer, or not to the end, within 0\.5 s"):
        read_witness([server.url], patience_s=0.5)
    assert time.monotonic() - began_s < 30
    server.closing.set()


@pytest.mark.parametrize(
    "address",
    ["http://", "http://[", "http://127.0.0.1:1/", "http://no-such-host.invalid/", "https://:0", "http://a b/"],
)
def test_an_address_that_nobody_answers_is_one_line(address: str, cli: Cli, log: Path) -> None:
    ran = cli("verify", "--witness", address)

    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)
    assert ran.err.startswith(f"otel-audit: {address}: ")


def test_what_is_no_http_is_one_line(cli: Cli, log: Path, server: Server) -> None:
    server.answer = lambda connection: connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")

    ran = cli("verify", "--witness", server.url)

    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_a_password_in_an_address_is_sent_and_not_shown(cli: Cli, log: Path, server: Server) -> None:
    server.says(b"", status="403 Forbidden")
    address = server.url.replace("http://", "http://auditor:hunter2@")

    ran = cli("verify", "--witness", address)
    refused = cli("verify", "--witness", "http://auditor:hunter2@127.0.0.1:1/")

    assert b"Authorization: Basic" in server.requests[0]
    assert "hunter2" not in ran.err + refused.err


@pytest.mark.parametrize("name", ["/dev/zero", ".", "/does/not/exist", "a\0b"])
def test_a_file_that_is_none_is_one_line(name: str, cli: Cli, log: Path) -> None:
    ran = cli("verify", "--witness", name)

    assert (ran.status, ran.out, ran.err.count("\n")) == (2, "", 1)


def test_bounds_are_as_documented() -> None:
    assert (witness.LONGEST_BYTES, witness.PATIENCE_S) == (64 << 20, 30.0)


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_what_the_page_notes_is_a_witness(cli: Cli, log: Path, tmp_path: Path) -> None:
    """docs/cli.md, the commands that note the latest signed record of a kind; here it is the close."""
    page = (Path(__file__).parents[3] / "docs" / "cli.md").read_text()
    (commands,) = re.findall(r"^    body=.*\n    echo .* >> heads\n", page, re.MULTILINE)
    commands = commands.replace("otel-audit ", f"{sys.executable} -m otel_audit.cli ").replace(
        "audit.seal", "audit.stream.close"
    )
    subprocess.run(["bash", "-euc", commands], cwd=tmp_path, check=True, capture_output=True)

    assert cli("verify", "--witness", tmp_path / "heads").status == 0
    cut_off(log)
    assert "truncated" in kinds(cli("verify", "--witness", tmp_path / "heads", "--json").out)
