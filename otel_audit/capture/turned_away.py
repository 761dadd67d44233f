"""A redirect that turns a request away: to a page that is to send its client back here afterwards.

Capture stage, framework-neutral. Products write their own `redirect_to_login`; what they have in common is the
address to come back to, which they hand to the sign-in page as `?next=`.
"""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from otel_audit.event import ANONYMOUS, UNKNOWN, Actor

_REDIRECTS = frozenset((302, 303, 307))
"""RFC 9110 §15.4: those that say nothing for good. 301 and 308 correct an address."""
_RETURN = "next"
"""Django's REDIRECT_FIELD_NAME; what flask-login, django-allauth and mozilla-django-oidc write too."""


def is_turned_away(status: int | None, location: str | None, path: str, actor: Actor) -> bool:
    """Whether nobody asked for *path*, and was sent to *location* to come back as somebody."""
    if status not in _REDIRECTS or location is None or actor.id not in (ANONYMOUS.id, UNKNOWN.id):
        return False
    try:
        query = urlsplit(location).query
        return any(urlsplit(value).path == path for value in parse_qs(query).get(_RETURN, ()))
    except ValueError:  # no address: the client's affair
        return False
