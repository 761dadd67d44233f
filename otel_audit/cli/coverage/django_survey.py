"""Which routes and models has a Django project, and what becomes of requests and changes?"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.apps import apps
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, router
from django.urls import URLPattern, URLResolver, get_resolver
from django.urls.resolvers import LocalePrefixPattern, RoutePattern
from django.utils.module_loading import import_string

from otel_audit.capture.policy_reach import ANY, ONE
from otel_audit.cli.coverage.found import ModelRow, RouteRow
from otel_audit.cli.coverage.surveyor import Surveyor
from otel_audit.cli.coverage.views import Guard, guards, layers
from otel_audit_django.accounts import is_account

_PARAMETER = re.compile(r"<(?:\w+:)?(?P<name>\w+)>")
_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")
_DRIVERS = {"MySQLdb": "mysqlclient"}
_SIGN_IN = "django.contrib.auth"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where in the tree of URL patterns."""

    route: str = "/"
    """For people."""
    paths: tuple[str, ...] = ("/",)
    """See `capture.policy_reach`."""
    namespace: str = ""

    def inside(self, pattern: Any, namespace: str | None = None) -> _Place:
        """The place of a *pattern* beneath this one."""
        text = str(pattern)
        return _Place(
            self.route + text.removeprefix("^"),
            tuple(path + form for path in self.paths for form in _forms(pattern, text)),
            f"{self.namespace}{namespace}:" if namespace else self.namespace,
        )


def survey_django_routes(surveyor: Surveyor) -> Iterator[RouteRow]:
    """The rows of every route of the project that `DJANGO_SETTINGS_MODULE` names."""
    middleware = [_kind(name) for name in settings.MIDDLEWARE]
    for place, pattern in _patterns(get_resolver().url_patterns, _Place()):
        view = pattern.callback
        kind = getattr(view, "view_class", None) or getattr(view, "cls", None) or view
        named = getattr(kind, "__qualname__", type(view).__qualname__)
        name = pattern.name or f"{getattr(kind, '__module__', '')}.{named}"
        yield from surveyor.routes(
            "django",
            place.route,
            place.paths,
            _methods(view),
            place.namespace + name,
            surveyor.who(_guards(view, middleware), _possible(middleware)),
        )


def survey_django_models(surveyor: Surveyor) -> Iterator[ModelRow]:
    """The rows of every model of the project's."""
    registered = _registered()
    for model in apps.get_models():
        label = model._meta.label  # noqa: SLF001 - Django's public `_meta` API
        database = router.db_for_write(model)
        driver = _driver(database)
        is_named = any(rule.matches(label) for rule in surveyor.policy.rows)
        is_seen = "django" in surveyor.hooked and surveyor.settings.enabled
        yield ModelRow(
            label,
            database,
            driver,
            driver in surveyor.hooked and surveyor.settings.enabled,
            "no" if not is_seen else "policy" if is_named else "account" if is_account(model) else "no",
            model in registered,
        )


def _patterns(patterns: Sequence[Any], place: _Place) -> Iterator[tuple[_Place, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, place.inside(pattern.pattern, pattern.namespace))
        else:
            yield place.inside(pattern.pattern), pattern


def _forms(pattern: Any, text: str) -> tuple[str, ...]:
    """The forms that a piece of a path has, parameters as `ONE` and `ANY`."""
    if isinstance(pattern, LocalePrefixPattern):
        return ("", f"{ONE}/")  # the default language may have none
    if isinstance(pattern, RoutePattern):
        crossing = {name for name, converter in pattern.converters.items() if _crosses(converter.regex)}
        return (_PARAMETER.sub(lambda match: ANY if match["name"] in crossing else ONE, text),)
    # of a regular expression no more than what it spells out at its beginning
    spelt = text.removeprefix("^").removesuffix("$").replace("\\-", "-").replace("\\.", "\ue003")
    special = _SPECIAL.search(spelt)
    if special is None and text.endswith("$"):
        return (spelt.replace("\ue003", "."),)
    start = len(spelt) if special is None else special.start()
    if special is not None and special[0] in "?*{":
        start = max(start - 1, 0)  # what stands before it is optional
    literal = "" if "|" in spelt else spelt[:start].replace("\ue003", ".")
    # django.urls.resolvers.RegexPattern.match searches where nothing holds the expression to the beginning
    before = ("",) if text.startswith("^") or text.endswith("$") else ("", ANY)
    return tuple(first + literal + last for first in before for last in ("", ANY))


def _crosses(regex: str) -> bool:
    return re.fullmatch(regex, "a/b") is not None or re.fullmatch(regex, "/") is not None


def _methods(view: Any) -> Iterator[str]:
    """The methods that a class-based view or a view set answers; none where only the view itself knows."""
    actions: dict[str, str] | None = getattr(view, "actions", None)
    kind = getattr(view, "view_class", None) or getattr(view, "cls", None)
    if actions:
        yield from (method.upper() for method in actions)
    elif kind is not None:
        names: Sequence[str] = getattr(kind, "http_method_names", ())
        yield from (method.upper() for method in names if hasattr(kind, method))


def _guards(view: Any, middleware: Sequence[type]) -> Iterator[Guard]:
    yield from guards(view)
    if any(hasattr(layer, "admin_site") or hasattr(layer, "model_admin") for layer in layers(view)):
        yield Guard(_SIGN_IN, is_strict=True)
    yield from _mixins(getattr(view, "view_class", None))
    is_project_wide = any(one.__name__ == "LoginRequiredMiddleware" for one in middleware)
    if is_project_wide and getattr(view, "login_required", True):
        yield Guard(_SIGN_IN, is_strict=True)
    rest: Any = getattr(view, "cls", None) or getattr(view, "view_class", None)
    permissions = getattr(rest, "permission_classes", None)
    authenticators = getattr(rest, "authentication_classes", None)
    if permissions is not None and authenticators:
        is_strict = any(getattr(one, "__name__", "") in ("IsAuthenticated", "IsAdminUser") for one in permissions)
        for authenticator in authenticators:
            yield Guard(f"rest_framework {authenticator.__name__}", is_strict)


def _mixins(kind: Any) -> Iterator[Guard]:
    """What a class-based view has inherited; a test of the project's own may let nobody in as well."""
    from django.contrib.auth.mixins import AccessMixin, LoginRequiredMixin, PermissionRequiredMixin

    if isinstance(kind, type) and issubclass(kind, AccessMixin):
        asks_permission = (
            issubclass(kind, PermissionRequiredMixin)
            and kind.has_permission is PermissionRequiredMixin.has_permission
        )
        yield Guard(_SIGN_IN, is_strict=asks_permission or issubclass(kind, LoginRequiredMixin))


def _possible(middleware: Sequence[type]) -> Iterator[str]:
    """What makes a user known in the whole project."""
    if any(one.__module__ == "django.contrib.auth.middleware" for one in middleware):
        yield _SIGN_IN


def _kind(name: str) -> type:
    kind = import_string(name)
    return kind if isinstance(kind, type) else type(kind)


def _registered() -> set[Any]:
    """Models that can be changed in an admin."""
    if not apps.is_installed("django.contrib.admin"):
        return set()
    from django.contrib.admin.sites import all_sites

    return {model for site in all_sites for model in apps.get_models() if site.is_registered(model)}


def _driver(database: str) -> str:
    """The driver that a database is reached by; nothing is connected to."""
    try:
        module: Any = getattr(connections[database], "Database", None)
    except ImproperlyConfigured as error:
        return f"no driver ({error})"
    if module is None:
        return "no driver"
    name = str(module.__name__).partition(".")[0]
    return _DRIVERS.get(name, name)
