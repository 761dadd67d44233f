"""Who: identities that somebody has verified, and those that were merely claimed.

Capture stage, framework-neutral. Nothing here decides that a credential is good: it reads what the
framework, the server or a trusted proxy has decided. A claim is hashed and never becomes the actor.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TypeAlias, cast

import orjson

from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import UNKNOWN, Actor, Auth

_Decoder: TypeAlias = Callable[[str], bytes]
_MAX_CREDENTIAL = 8192
"""Characters of an `Authorization` header that are looked at; servers refuse longer header lines."""

_MAX_ID = 256
_AUTH_OF_SCHEME: dict[str, Auth] = {"basic": "basic", "bearer": "bearer", "token": "bearer"}
# RFC 7616 §3.4; in two steps, so that a quote that is never closed is scanned once
_USER_NAME = re.compile(r"(?:^|[\s,])username=")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"')
_ID_MEMBERS = ("id", "user_id", "sub", "username", "name")
# A relative name as nginx (RFC 4514) and Apache (also the slash form) write it.
_COMMON_NAME = re.compile(r"(?:^|[,/])\s*CN\s*=\s*((?:\\.|[^,/\\])+)", re.IGNORECASE)


def auth_of_scheme(authorization: str | None) -> Auth | None:
    """How a credential in that header was verified, once the application has said that it was."""
    return _AUTH_OF_SCHEME.get((authorization or "").partition(" ")[0].lower())


def actor_of(identity: object, auth: Auth | None) -> Actor:
    """The actor that an application's verified *identity* stands for: an id, claims, or a user object.

    Of an object only what it already holds is read, never an attribute that would have to be computed: a
    property of an ORM's instance may query. `UNKNOWN` where no id is found.
    """
    if isinstance(identity, (str, int)) and not isinstance(identity, bool):
        return _actor(str(identity), auth)
    members = _held(identity)
    if members is not None:
        for name in _ID_MEMBERS:
            value = members.get(name)
            if isinstance(value, (str, int)) and not isinstance(value, bool) and value != "":
                return _actor(str(value), auth)
    return UNKNOWN


@lru_cache(maxsize=1024)
def known_user(user_id: str, auth: Auth | None, name: str | None = None) -> Actor:
    """A user by what names them; kept, because who is signed in is asked at each record, and one costs 0.6 µs."""
    return Actor(user_id, "user", auth, name)


def certificate_actor(environ: Mapping[str, object]) -> Actor | None:
    """The subject of the client certificate that the WSGI server has verified; None where it has not.

    Read from the server's own variables, which no header can set (headers become `HTTP_*`):
    `SSL_CLIENT_VERIFY` with `SSL_CLIENT_S_DN` (mod_wsgi, uWSGI and nginx' `uwsgi_param`), else gunicorn's
    TLS socket. `REMOTE_USER` is not believed: nginx' `$remote_user` is what the client wrote.
    """
    if environ.get("SSL_CLIENT_VERIFY") == "SUCCESS":
        subject = environ.get("SSL_CLIENT_S_DN")
        if isinstance(subject, str) and subject:
            common_name = environ.get("SSL_CLIENT_S_DN_CN")
            return _certified(subject, common_name if isinstance(common_name, str) else None)
        return UNKNOWN
    get_certificate = getattr(environ.get("gunicorn.socket"), "getpeercert", None)
    if get_certificate is None:
        return None
    try:
        # ssl: a dict with members only when the certificate was validated (cert_reqs is not CERT_NONE)
        certificate: object = get_certificate()
    except (OSError, ValueError):
        return None  # the connection is gone, or its handshake never ended
    if not isinstance(certificate, Mapping) or not certificate:
        return None
    relative_names = cast("Mapping[str, tuple[tuple[tuple[str, str], ...], ...]]", certificate).get("subject", ())
    names = [pair for relative_name in relative_names for pair in relative_name]
    subject = ",".join(f"{_SHORT.get(key, key)}={_escaped(value)}" for key, value in reversed(names))
    return _certified(subject, dict(names).get("commonName")) if subject else UNKNOWN


def proxy_actor(value: str | None) -> Actor | None:
    """The user whom a trusted proxy names in `OTEL_AUDIT_ACTOR_HEADER`; the caller has checked the peer.

    A comma means that the header was there twice (RFC 9110 §5.3): one of them may be the client's own, so
    nobody is named.
    """
    if value is None or not value.strip():
        return None
    return UNKNOWN if "," in value else _actor(value.strip(), "proxy-header")


def claimed_identity(authorization: str | None) -> str | None:
    """The keyed hash of the name in an `Authorization` header that nobody has verified; None without one.

    The user name of Basic and Digest, the `sub` of a JWT.
    """
    name = _claimed_name(authorization)
    return keyed_hash(name) if name else None


def _claimed_name(authorization: str | None) -> str | None:
    if not authorization or len(authorization) > _MAX_CREDENTIAL:
        return None
    scheme, _, credential = authorization.partition(" ")
    match scheme.lower():
        case "basic":
            return (_decoded(credential.strip(), base64.b64decode) or "").partition(":")[0]
        case "digest":
            begin = _USER_NAME.search(credential)
            name = None if begin is None else _QUOTED.match(credential, begin.end())
            return None if name is None else name[1]
        case "bearer" | "token" | "jwt":
            return _subject(credential.strip())
        case _:
            return None


def _subject(token: str) -> str | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    payload = _decoded(parts[1], base64.urlsafe_b64decode)
    try:
        claims: object = orjson.loads(payload or "")
    except orjson.JSONDecodeError:
        return None
    subject = cast("dict[str, object]", claims).get("sub") if isinstance(claims, dict) else None
    return str(subject) if isinstance(subject, (str, int)) else None


def _decoded(text: str, decode: _Decoder) -> str | None:
    try:
        return decode(text + "=" * (-len(text) % 4)).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return None


def _held(identity: object) -> Mapping[object, object] | None:
    if isinstance(identity, Mapping):
        return cast("Mapping[object, object]", identity)
    held: object = getattr(identity, "__dict__", None)
    return cast("dict[object, object]", held) if isinstance(held, dict) else None


def _actor(identity: str, auth: Auth | None) -> Actor:
    return known_user(identity[:_MAX_ID], auth) if identity else UNKNOWN


def _certified(subject: str, common_name: str | None) -> Actor:
    match = _COMMON_NAME.search(subject) if common_name is None else None
    name = match[1].strip() if match else common_name
    return Actor(subject[:_MAX_ID], "user", "mtls", name[:_MAX_ID] if name else None)


def _escaped(value: str) -> str:
    """RFC 4514 §2.4, as far as it keeps two subjects apart."""
    return re.sub(r'([,+"\\<>;=])', r"\\\1", value)


# RFC 4514 §3, for the long names that Python's ssl module reports
_SHORT = {
    "commonName": "CN",
    "localityName": "L",
    "stateOrProvinceName": "ST",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
