"""What must not stand in a record in the clear: keyed hashes, and paths whose segments look like secrets.

Capture stage, framework-neutral. A masked value is replaced by its keyed hash, so that an investigator who
holds the value and the key can still find every use of it, and nobody else can read it out of the log.
"""

from __future__ import annotations

import hmac
import itertools
import os
import re
from collections.abc import Container

MAX_PATH = 2048
"""Characters of a path that are looked at; servers refuse request lines beyond 4 to 8 KiB."""

_CUT = "/…"
_key = os.urandom(32)
"""Until `configure_hash_key`: hashes correlate within this process and its forks, and mean nothing later."""

# Each of these is linear in the path: it is hostile text, and this runs before the response is sent.
# A path in which nothing is suspect is carried as it stands: one scan is all that most requests pay.
_SUSPECT = re.compile(r"@|[^/]{20}")
# RFC 7519 §3: three base64url parts; a JSON object's first byte makes the header begin with `ey`.
_JWT = re.compile(r"(?<![\w-])ey[\w-]{8,}\.[\w-]+\.[\w-]*")
_HEX = re.compile(r"[0-9a-fA-F]{32,}")
_TOKEN = re.compile(r"[\w.~+=:%-]{20,}", re.ASCII)
# What the log is for: UUIDs, MongoDB's object ids (24 hex digits), ULIDs.
_RECORD_ID = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-f]{24}|[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII
)
_NAMED_SECRET = re.compile(
    r"token|secret|passw|passcode|passphrase|signature|api_?key|credential|session_?id|"
    r"e_?mail|^(?:jwt|sig|pin|pwd|otp|nonce)$",
    re.IGNORECASE,
)


def configure_hash_key(key: bytes) -> None:
    """Make *key* the one under which every later `keyed_hash` of this process is made."""
    global _key  # noqa: PLW0603 - one key a process is the setting's meaning
    _key = key


def keyed_hash(text: str) -> str:
    """`hash:` and the HMAC-SHA-256 of *text* (UTF-8, lone surrogates replaced) in lower-case hex."""
    return "hash:" + hmac.digest(_key, text.encode("utf-8", "replace"), "sha256").hex()


def names_a_secret(parameter: str) -> bool:
    """Whether a path parameter of that name holds a secret or an e-mail address, whatever it looks like."""
    return _NAMED_SECRET.search(parameter) is not None


def looks_secret(segment: str) -> bool:
    """Whether one segment of a path looks like a JWT, an e-mail address or a long random string."""
    if "@" in segment and _has_mail_address(segment):
        return True
    if len(segment) < 20 or _RECORD_ID.fullmatch(segment):
        return False
    if _JWT.search(segment) or any(_is_mixed(run) for run in _HEX.findall(segment)):
        return True
    # A name for people has long runs of one kind (lower, upper, digit); a random string changes
    # kind at every other character: base64 at 0.6 of them. A quarter parts the two, and misses 3 in
    # 1,000 of 22-character tokens (16 random bytes), none in 5,000 of 43 (32).
    return any(_changes(token) * 4 >= len(token) for token in _TOKEN.findall(segment))


def mask_path(path: str, literals: Container[str] = ()) -> str:
    """*path* with each segment that looks like a secret replaced by its `keyed_hash`.

    A path longer than `MAX_PATH` is cut after the last whole segment, and ends in `/…`.
    *literals* are segments that the route itself spells out: those are the application's own words.
    A limit: a secret that looks like a word or a number is not recognised; name its parameter `token`,
    or see `names_a_secret`.
    """
    if len(path) > MAX_PATH:
        # between segments: a piece of a secret might no longer look like one
        path = path[: MAX_PATH - len(_CUT)].rpartition("/")[0] + _CUT
    if _SUSPECT.search(path):
        path = "/".join(
            keyed_hash(segment) if segment not in literals and looks_secret(segment) else segment
            for segment in path.split("/")
        )
    return path


def _has_mail_address(segment: str) -> bool:
    parts = segment.split("@")
    return any(local and "." in domain.strip(".") for local, domain in itertools.pairwise(parts))


def _is_mixed(run: str) -> bool:
    return not run.isdigit() and not run.isalpha()


def _changes(token: str) -> int:
    """How often the kind of character changes; separators end a run and are no change."""
    changes = 0
    before = ""
    for character in token:
        if character.isdigit():
            kind = "digit"
        elif character.islower():
            kind = "lower"
        elif character.isupper():
            kind = "upper"
        else:
            before = ""
            continue
        if before and kind != before:
            changes += 1
        before = kind
    return changes
