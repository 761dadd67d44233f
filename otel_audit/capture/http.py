"""What a web access is, whatever framework serves it.

Capture stage, framework-neutral: an instrumentation fills an `HttpScope` with what it learns of a request
and turns it into one `http.server.request` event at its end. Names in the context are the OpenTelemetry
semantic conventions for HTTP server spans (1.37), with one of our own: `http.server.request.duration_us`,
because the convention's `http.server.request.duration` is a float of seconds and a record has only
integers. There is never a query string, a body, a cookie or any header but the user agent and the host.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns, time_ns

from otel_audit.capture.actor import claimed_identity
from otel_audit.capture.client_address import ClientAddresses, Network, server_address
from otel_audit.capture.redaction import keyed_hash, mask_path
from otel_audit.capture.request import RequestScope
from otel_audit.capture.trace_context import Ids, new_ids, parse_traceparent
from otel_audit.event import UNKNOWN, Actor, AuditEvent, ContextValue, Outcome, Target

EVENT = "http.server.request"
TARGET_TYPE = "http.endpoint"

# RFC 9110 §9, RFC 5789, and what is safe of WebDAV (RFC 4918, RFC 3253, RFC 5323) and of QUERY.
_ACTIONS = {
    "GET": "READ",
    "HEAD": "READ",
    "OPTIONS": "READ",
    "TRACE": "READ",
    "QUERY": "READ",
    "PROPFIND": "READ",
    "REPORT": "READ",
    "SEARCH": "READ",
    "POST": "CREATE",
    "PUT": "UPDATE",
    "PATCH": "UPDATE",
    "DELETE": "DELETE",
}
# Semantic conventions, http.request.method: any other is `_OTHER`, because a method is client's text.
_KNOWN_METHODS = frozenset(
    ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY")
)
_VERIFIED_BY_CREDENTIAL = frozenset(("basic", "bearer", "api-key"))
_MAX_USER_AGENT = 512
_MAX_HOSTS = 1024


@dataclass(frozen=True, slots=True)
class HttpCaptureConfig:
    """What the settings say about web accesses; installed by `configure_http`."""

    trusted_proxies: tuple[Network, ...] = ()
    """`OTEL_AUDIT_TRUSTED_PROXIES`: who is believed about `Forwarded`, `X-Forwarded-For`, *actor_header*."""
    actor_header: str | None = None
    """`OTEL_AUDIT_ACTOR_HEADER`: in which a trusted proxy names the user."""
    trusts_unix_socket: bool = False
    """Whether a peer without an address (a unix socket) counts as a trusted proxy."""


_addresses = ClientAddresses()
_actor_variable: str | None = None
_hosts: dict[str, str | None] = {}


def configure_http(config: HttpCaptureConfig) -> None:
    """Make *config* hold for every request that begins from now on."""
    global _addresses, _actor_variable  # noqa: PLW0603 - one configuration a process, as the settings are
    _addresses = ClientAddresses(config.trusted_proxies, trusts_unix_socket=config.trusts_unix_socket)
    header = config.actor_header
    _actor_variable = None if header is None else "HTTP_" + header.upper().replace("-", "_")


def actor_variable() -> str | None:
    """The WSGI (and Django `META`) name of the header in which a trusted proxy names the user."""
    return _actor_variable


def action_of(method: str) -> str:
    """The verb of the evidence format for an HTTP method; EXECUTE for one that says nothing of its effect."""
    return _ACTIONS.get(method, "EXECUTE")


def outcome_of(status: int) -> Outcome:
    """How a request with that status ended: client's and server's errors are failures."""
    return "success" if status < 400 else "failure"


def error_type(error: BaseException) -> str:
    """An exception's class, qualified as opentelemetry-sdk does for `exception.type`; never its message."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class HttpScope(RequestScope):
    """One HTTP request: what was asked, what is learnt on the way, how it ended.

    Made at the request's first moment; `event` is asked for once, at its last. A framework's subclass
    overrides `resolve_actor` and, where contrib's instrumentation leaves its span somewhere,
    `server_span_ids`. Not shared between threads.
    """

    __slots__ = (
        "_host",
        "_ids",
        "_own_ids",
        "_peer",
        "_started_ns",
        "_started_perf_ns",
        "_traceparent",
        "_user_agent",
        "authorization",
        "error_type",
        "is_cut_off",
        "is_denied",
        "literals",
        "peer_is_trusted",
        "route",
        "scheme",
        "secrets",
        "size",
        "status",
    )

    def __init__(self, variable: Callable[[str], str | None], *, path: str) -> None:
        """*variable* looks up a request variable by its CGI name (`HTTP_USER_AGENT`)."""
        self._started_ns = time_ns()
        self._started_perf_ns = perf_counter_ns()
        peer = variable("REMOTE_ADDR") or ""
        self._peer = peer
        source, self.peer_is_trusted = _addresses.of(
            peer, variable("HTTP_FORWARDED"), variable("HTTP_X_FORWARDED_FOR")
        )
        # RequestScope's own initialiser would cost a call and two ids that most requests never need
        self.source = source
        self.path = path
        self.method = variable("REQUEST_METHOD") or ""
        self.acting_as = None
        self.scheme = variable("wsgi.url_scheme")
        self._traceparent = variable("HTTP_TRACEPARENT")
        self.authorization = variable("HTTP_AUTHORIZATION")
        """A secret: claims are read from it, hashed, and it stands nowhere."""
        self._user_agent = variable("HTTP_USER_AGENT")
        self._host = variable("HTTP_HOST")
        self._ids: Ids | None = None
        self._own_ids: Ids | None = None
        self.route: str | None = None
        """The template that matched, under the application's root; None where none did."""
        self.literals: frozenset[str] = frozenset()
        """Segments that the route spells out."""
        self.secrets: tuple[str, ...] = ()
        """Values of path parameters whose names say that they are secret."""
        self.status: int | None = None
        self.size: int | None = 0
        """Bytes of the body handed over; None: not known."""
        self.error_type: str | None = None
        self.is_denied = False
        """Refused by the framework's own word, whatever status it chose (a redirect to the sign-in page)."""
        self.is_cut_off = False
        """The body was not asked for to its end."""

    @property
    def ids(self) -> Ids:
        """Those of the server's span, else the trace of `traceparent`, else new ones."""
        ids = self._ids or self.server_span_ids()
        if ids is not None:
            self._ids = ids
            return ids
        if self._own_ids is None:
            made = new_ids()
            given = parse_traceparent(self._traceparent)
            self._own_ids = made if given is None else (given[0], made[1])
        return self._own_ids

    def adopt_ids(self, ids: Ids | None) -> None:
        """Take the ids of the server's span, where there is one; whoever made it last is the innermost."""
        if ids is not None:
            self._ids = ids

    def server_span_ids(self) -> Ids | None:
        """The ids of the span that another instrumentation has made for this request, if it tells."""
        return None

    def event(self, actor: Actor) -> AuditEvent:
        """The request as one event; *actor* is whom it turned out to be."""
        method = self.method
        status = self.status
        path = self._masked_path()
        source = self.source
        context: dict[str, ContextValue] = {
            "http.request.method": method if method in _KNOWN_METHODS else "_OTHER",
            "url.path": path,
            "http.server.request.duration_us": (perf_counter_ns() - self._started_perf_ns) // 1000,
        }
        if self.route is not None:
            context["http.route"] = self.route
        if self.scheme:
            context["url.scheme"] = self.scheme
        if status is not None:
            context["http.response.status_code"] = status
        if self.size is not None:
            context["http.response.body.size"] = self.size
        if self._user_agent:
            context["user_agent.original"] = self._user_agent[:_MAX_USER_AGENT]
        if source is not None:
            context["client.address"] = source.id
        if self._peer and (source is None or source.id != self._peer):
            context["network.peer.address"] = self._peer
        host = _server(self._host)
        if host is not None:
            context["server.address"] = host
        if self.authorization is not None and actor.auth not in _VERIFIED_BY_CREDENTIAL:
            context["audit.actor.claimed"] = claimed_identity(self.authorization)
        outcome = self._ended(context)
        ids = self.ids
        return AuditEvent(
            EVENT,
            _ACTIONS.get(method, "EXECUTE"),
            outcome,
            actor,
            Target(path or "/", TARGET_TYPE),
            source,
            self._started_ns,
            ids[0],
            ids[1],
            context,
        )

    def _ended(self, context: dict[str, ContextValue]) -> Outcome:
        """The outcome; adds what explains it to *context*."""
        status = self.status
        if self.is_denied or status in (401, 403):
            context["audit.reason"] = "denied"
            return "failure"
        if self.error_type is not None:
            context["error.type"] = self.error_type
            return "failure"
        if self.is_cut_off:
            context["audit.reason"] = "cut-off"
        if status is None:
            return "unknown"
        if status >= 500:
            # Semantic conventions, error.type: the status where there is no exception to name
            context["error.type"] = str(status)
        return outcome_of(status)

    def _masked_path(self) -> str:
        if not self.secrets:
            return mask_path(self.path, self.literals)
        path = self.path
        known = set(self.literals)
        for secret in self.secrets:
            masked = keyed_hash(secret)
            known.add(masked)
            before = path
            path = "/".join(
                segment if segment in known else segment.replace(secret, masked) for segment in path.split("/")
            )
            if path == before:
                # a converter changed the value, or it spans segments: what stands for it is not known
                return self.route or "/"
        return mask_path(path, known)

    def resolve_actor(self) -> Actor:
        """Whom the framework knows this request to be by now."""
        return UNKNOWN


def _server(host: str | None) -> str | None:
    if not host:
        return None
    if host not in _hosts:
        if len(_hosts) >= _MAX_HOSTS:
            _hosts.clear()
        _hosts[host] = server_address(host)
    return _hosts[host]
