"""Who a Django request is: read from where Django, its session and its extensions have put it.

Nothing is asked that would load, query or touch the session (touching it adds `Vary: Cookie`): a user whom
nobody has loaded is known by the id in the session, and a session that nobody has loaded by nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from django.utils.functional import LazyObject, empty

from otel_audit.capture.actor import actor_of, known_user
from otel_audit.event import UNKNOWN, Actor, Auth

if TYPE_CHECKING:
    from django.http import HttpRequest

SESSION_KEY = "_auth_user_id"
"""`django.contrib.auth.SESSION_KEY`, whose module may be half imported when this one is asked for."""

# django-hijack 3: the ids of those who took over, the first one first; the session's own user is the last taken
_HIJACKERS = "hijack_history"
_MAX_DEPTH = 3
"""The evidence format's bound on `on_behalf_of`."""
_MAX_LENGTH = 256
_NOTHING: dict[str, object] = {}


def loaded_user(request: HttpRequest) -> object | None:
    """The user object of *request*, if somebody has loaded or set one; never loads one."""
    members = held(request)
    user = unwrapped(members.get("user"))
    if user is None:
        user = members.get("_cached_user")
    return members.get("_acached_user") if user is None else user


def unwrapped(user: object) -> object | None:
    """What a lazy *user* stands for, if it has been asked for; django-hijack's is a lazy copy of a lazy user."""
    while isinstance(user, LazyObject):
        user = held(cast("object", user))["_wrapped"]  # all but its own members would load
        if user is empty:
            return None
    return user


def session_data(request: HttpRequest) -> Mapping[str, object] | None:
    """What the session of *request* holds; None where nobody has loaded it, or there is none."""
    # past `_session`, which loads, and notes the access
    data = held(held(request).get("session")).get("_session_cache")
    return cast("Mapping[str, object]", data) if isinstance(data, dict) else None


def has_unread_session(request: HttpRequest) -> bool:
    """Whether the client has brought a session that nobody has looked into."""
    members = held(held(request).get("session"))
    return "_session_cache" not in members and bool(members.get("_SessionBase__session_key"))


def session_actor(data: Mapping[str, object]) -> Actor | None:
    """Whom a session names, with whoever has taken that user over."""
    user_id = data.get(SESSION_KEY)
    return None if user_id is None else impersonated(known_user(_cut(user_id), "session"), data)


def user_actor(user: object, auth: Auth | None) -> Actor:
    """The actor that a user object stands for: its primary key, and its name; never queries."""
    user = unwrapped(user)
    kind: Any = type(user)
    meta = getattr(kind, "_meta", None)
    if meta is None:
        return actor_of(user, auth)
    members = held(user)
    user_id = members.get(meta.pk.attname)
    if user_id is None:
        return UNKNOWN
    name = members.get(getattr(kind, "USERNAME_FIELD", ""))
    return known_user(_cut(user_id), auth, _cut(name) if name else None)


def held(thing: object) -> dict[str, object]:
    """The members that *thing* itself holds, past properties and proxies; empty where it has none."""
    members: dict[str, object] = getattr(thing, "__dict__", _NOTHING)
    return members


def model_of(instance: object) -> Any:
    """The model of a row."""
    return type(instance)


def is_anonymous(user: object) -> bool:
    """Whether *user* stands for nobody."""
    return getattr(user, "is_anonymous", None) is True


def impersonated(actor: Actor, data: Mapping[str, object]) -> Actor:
    """*actor* as the session's user; the one who acts is whoever has taken that user over (django-hijack)."""
    hijackers = data.get(_HIJACKERS)
    if not hijackers or not isinstance(hijackers, list):
        return actor
    found = actor
    # the first one is who sits there; in between, the last ones before the user
    history = cast("list[object]", hijackers)
    kept = [history[0], *history[1:][-(_MAX_DEPTH - 1) :]]
    for hijacker in reversed(kept):
        found = Actor(_cut(hijacker), "user", "session", None, found)
    return found


def _cut(text: object) -> str:
    return str(text)[:_MAX_LENGTH]
