"""An archive of very many small streams, each with a key and a certificate of its own, as fast as keys can be made.

    python tests/hostile/many_streams.py DIRECTORY 1000000

writes `<directory>/shop/<stream>/000000000001.jsonl` (an open, an event, a close) and `<directory>/issuer.pem`.
Each stream names the one before it. With a third argument `otlp` the same goes to `<directory>/audit.otlp.jsonl`
and files rotated from it, the records of fifty streams interleaved. A certificate is one that `cryptography` made,
with the name, the key and the signature exchanged where they stand: making each from the beginning would take three
times as long.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.issuers import START, Issuer, seed
from tests.otlp_json_files import line

SERVICE = "shop"
SPACING = timedelta(milliseconds=40)
"""Between opens: a million streams are eleven hours, within the validity of one certificate."""
_PART = 10_000
_BESIDE = 50
"""Streams that live at the same time."""


def stream_id(number: int) -> str:
    """Of the stream with that *number*."""
    return seed(f"stream {number}").hex()[:32]


class Certificates:
    """Certificates of one issuer that differ in name and key alone."""

    def __init__(self, issuer: Issuer) -> None:
        key = Ed25519PrivateKey.from_private_bytes(seed("template"))
        made = issuer.issue("f" * 32, SERVICE, key)
        self._key = issuer.key
        self._tbs = made.tbs_certificate_bytes
        whole = made.public_bytes(Encoding.DER)
        self._before, self._after = whole[: whole.index(self._tbs)], whole[: -len(made.signature)]
        self._after = self._after[len(self._before) + len(self._tbs) :]
        self._public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def of(self, stream: str, public: bytes) -> bytes:
        """The certificate of *stream* with the Ed25519 key *public*, DER."""
        tbs = self._tbs.replace(b"f" * 32, stream.encode()).replace(self._public, public)
        assert isinstance(self._key, Ed25519PrivateKey)
        return self._before + tbs + self._after + self._key.sign(tbs)


def _stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}000Z"


def _canonical(members: dict[str, object]) -> bytes:
    return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()


def _signed(key: Ed25519PrivateKey, members: dict[str, object]) -> bytes:
    raw = key.sign(b"otel-audit/1\n" + _canonical(members))
    return _canonical({**members, "sig": base64.urlsafe_b64encode(raw).rstrip(b"=").decode()})


def streams(first: int, last: int, *, closes: bool = True) -> Iterator[tuple[str, list[bytes]]]:
    """Ids and bodies of the streams numbered from *first* up to *last*, the older ones first."""
    certificates = Certificates(Issuer())
    predecessors: list[str] = []
    for number in range(first, last):
        stream = stream_id(number)
        key = Ed25519PrivateKey.from_private_bytes(seed(f"key {number}"))
        public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        opened = START + number * SPACING
        common: dict[str, object] = {
            "schema": "otel-audit/1",
            "stream": stream,
            "time": _stamp(opened),
            "observed": _stamp(opened),
            "outcome": "success",
            "action": "EXECUTE",
            "actor": {"id": "otel-audit", "type": "system"},
        }
        context: dict[str, object] = {
            "audit.certificate": [base64.b64encode(certificates.of(stream, public)).decode()],
            "audit.predecessors": predecessors,
            "audit.sign": "seal",
            "audit.seal.interval_ms": 5_000,
            "audit.heartbeat.interval_ms": 60_000,
            "audit.seal.next_by": _stamp(opened + timedelta(seconds=65)),
            "audit.policy.digest": hashlib.sha256(b"").hexdigest(),
            "audit.fail_mode": "open",
            "audit.durability": "disk",
            "service.name": SERVICE,
            "service.instance.id": str(number),
            "host.name": f"host-{number % 1000}",
            "process.pid": 1 + number % 4_000_000,
        }
        bodies = [_signed(key, {**common, "seq": 1, "event": "audit.stream.open", "context": context})]
        event: dict[str, object] = {
            **common,
            "seq": 2,
            "prev": hashlib.sha256(bodies[0]).hexdigest(),
            "event": "http.server.request",
            "actor": {"id": "alice", "type": "user", "auth": "session"},
            "action": "READ",
            "target": {"id": f"/customers/{number}", "type": "http.endpoint"},
        }
        bodies.append(_canonical(event))
        leaves = [hashlib.sha256(b"\x00" + hashlib.sha256(body).digest()).digest() for body in bodies]
        sealed: dict[str, object] = {
            "audit.seal.size": 2,
            "audit.seal.root": hashlib.sha256(b"\x01" + leaves[0] + leaves[1]).hexdigest(),
            "audit.seal.dropped": 0,
            "audit.seal.skipped": 0,
            "audit.reason": "shutdown",
        }
        if closes:
            close = {**common, "seq": 3, "prev": hashlib.sha256(bodies[1]).hexdigest()}
            bodies.append(_signed(key, {**close, "event": "audit.stream.close", "context": sealed}))
        signed = bodies[-1] if closes else bodies[0]
        predecessors = [f"{stream}:{3 if closes else 1}:{hashlib.sha256(signed).hexdigest()}"]
        yield stream, bodies


def _write(directory: Path, first: int, last: int) -> int:
    for stream, bodies in streams(first, last):
        where = directory / SERVICE / stream
        where.mkdir(parents=True)
        (where / "000000000001.jsonl").write_bytes(b"".join(body + b"\n" for body in bodies))
    return last - first


def write_otlp(path: Path, many: Iterable[tuple[str, list[bytes]]]) -> None:
    """Write *many* as export requests: the opens of some, then their events, then their closes."""
    given = iter(many)
    with path.open("wb") as file:
        while some := [bodies for _, bodies in islice(given, _BESIDE)]:
            for bodies in zip(*some, strict=True):
                file.write(line(bodies))


def _write_part(directory: Path, first: int, last: int) -> int:
    name = "audit.otlp.jsonl" if first == 0 else f"audit.otlp-2026-03-01T12-00-00.{first // _PART:03}-size.jsonl"
    write_otlp(directory / name, streams(first, last))
    return last - first


def main() -> None:
    """Write the archive, by as many processes as there are processors."""
    directory, count = Path(sys.argv[1]), int(sys.argv[2])
    (directory / SERVICE).mkdir(parents=True)
    write = _write_part if sys.argv[3:] == ["otlp"] else _write
    (directory / "issuer.pem").write_bytes(Issuer().certificate.public_bytes(Encoding.PEM))
    began, written = datetime.now(UTC), 0
    with ProcessPoolExecutor() as pool:
        parts = [(first, min(first + _PART, count)) for first in range(0, count, _PART)]
        for number in pool.map(write, [directory] * len(parts), *zip(*parts, strict=True)):
            written += number
            if written % 100_000 == 0:
                sys.stderr.write(f"{written:,} streams in {datetime.now(UTC) - began}\n")


if __name__ == "__main__":
    main()
