"""OTLP-JSON in another spelling than the Collector's: what still says the same, and what does not.

The envelope is no evidence, so a lenient reading of it hides nothing: a record that it loses is missing from its
chain. Of a member that is given twice the last counts, as it does to Go's encoding/json and to jq.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.archives import Archive
from tests.otlp_json_files import CURRENT, check, found, line

TIME = b'"timeUnixNano":"1795446000000000000"'
RESOURCES, RECORDS, BODY = b'{"resourceLogs":[', b'"logRecords":[', b'"body":{'
ATTRIBUTES, EVENT = b'"attributes":[{"key":"audit.record.id"', b'"eventName":"http'
LIE = b'"attributes":[{"key":"audit.actor.id","value":{"stringValue":"bob"}}],'
ACTOR = b'{"key":"audit.actor.id","value":'
BOM = b"\xef\xbb\xbf"

Spelling = Callable[[bytes], bytes]


def instead(old: bytes, new: bytes) -> Spelling:
    def spelled(text: bytes) -> bytes:
        assert old in text
        return text.replace(old, new, 1)

    return spelled


HARMLESS: dict[str, Spelling] = {
    "a byte-order mark": lambda text: BOM + text,
    "a byte-order mark on each line": lambda text: (BOM + text) * 2,
    "CRLF": lambda text: text[:-1] + b"\r\n",
    "CR alone": lambda text: text[:-1] + b"\r" + text,
    "empty lines": lambda text: b"\r\n \n" + text,
    "-0": instead(TIME, b'"timeUnixNano":-0'),
    "an escaped name": instead(RECORDS, b'"\\u006cogRecords":['),
    "an escaped name of the body": instead(BODY, b'"\\u0062ody":{'),
    "something before it on its line": lambda text: b"/**/" + text,
    "two documents on a line": lambda text: text[:-1] + text,
    "a body before it": instead(BODY, b'"body":{"stringValue":"{}"},"body":{'),
    "attributes before them": instead(ATTRIBUTES, b'"attributes":[],' + ATTRIBUTES),
    "lying attributes before them": instead(ATTRIBUTES, LIE + ATTRIBUTES),
    "a lying value before it": instead(ACTOR, b'{"key":"audit.actor.id","value":{"stringValue":"bob"},"value":'),
    "records before them": instead(RECORDS, b'"logRecords":[],' + RECORDS),
    "resources before them": instead(RESOURCES, b'{"resourceLogs":[],' + RESOURCES[1:]),
}
NO_DOCUMENT: dict[str, Spelling] = {
    "UTF-16, little endian": lambda text: text.decode().encode("utf-16-le"),
    "UTF-16": lambda text: text.decode().encode("utf-16"),
    "UTF-32": lambda text: text.decode().encode("utf-32"),
    "NaN": instead(TIME, b'"timeUnixNano":NaN'),
    "-Infinity": instead(TIME, b'"timeUnixNano":-Infinity'),
    "1e400": instead(TIME, b'"timeUnixNano":1e400'),
    "ten thousand digits": instead(TIME, b'"timeUnixNano":' + b"9" * 10_000),
    "a trailing comma": lambda text: text[:-2] + b",}\n",
    "a lone surrogate": instead(BODY + b'"stringValue":"', BODY + b'"stringValue":"\\ud800'),
    "several lines": lambda text: json.dumps(json.loads(text), indent=1).encode() + b"\n",
}
WITHOUT_RECORDS: dict[str, Spelling] = {
    "no records behind them": instead(b"]}]}]}\n", b'],"logRecords":[]}]}]}\n'),
    "no resources behind them": instead(b"]}]}]}\n", b']}]}],"resourceLogs":[]}\n'),
    "an array of documents": lambda text: b"[" + text[:-1] + b"]\n",
    "the names of protobuf": lambda text: text.replace(b"resourceLogs", b"resource_logs"),
}


@pytest.fixture
def archive() -> Archive:
    """One stream of four records."""
    archive = Archive()
    stream = archive.stream()
    stream.events(2)
    stream.close()
    return archive


@pytest.mark.parametrize("spelling", HARMLESS.values(), ids=HARMLESS)
def test_it_says_the_same(archive: Archive, tmp_path: Path, spelling: Spelling) -> None:
    (tmp_path / CURRENT).write_bytes(spelling(line(archive.bodies)))

    verdict = check(archive, tmp_path)

    assert (verdict.status, verdict.records) == ("verified", 4)


@pytest.mark.parametrize("spelling", NO_DOCUMENT.values(), ids=NO_DOCUMENT)
def test_what_is_no_document_is_malformed(archive: Archive, tmp_path: Path, spelling: Spelling) -> None:
    (tmp_path / CURRENT).write_bytes(spelling(line(archive.bodies[2:])) + line(archive.bodies))

    assert found(check(archive, tmp_path)) == [("malformed", None)]


@pytest.mark.parametrize("spelling", WITHOUT_RECORDS.values(), ids=WITHOUT_RECORDS)
def test_what_holds_no_records_of_ours_leaves_them_missing(
    archive: Archive, tmp_path: Path, spelling: Spelling
) -> None:
    (tmp_path / CURRENT).write_bytes(spelling(line(archive.bodies[:2])) + line(archive.bodies[2:]))

    assert found(check(archive, tmp_path)) == [("missing", 1)]


def test_lying_attributes_behind_the_others_are_a_mismatch(archive: Archive, tmp_path: Path) -> None:
    (tmp_path / CURRENT).write_bytes(instead(EVENT, LIE + EVENT)(line(archive.bodies)))

    assert found(check(archive, tmp_path)) == [("index-mismatch", 2)]


def test_a_body_behind_the_other_is_the_body(archive: Archive, tmp_path: Path) -> None:
    second = json.dumps(archive.bodies[1].replace(b"alice", b"mally").decode()).encode()
    lie = b'"body":{"stringValue":' + second + b"}," + EVENT
    (tmp_path / CURRENT).write_bytes(instead(EVENT, lie)(line(archive.bodies)))

    assert ("altered", 2) in found(check(archive, tmp_path))
