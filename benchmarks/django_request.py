"""Microseconds of CPU for one Django request with queries on sqlite, called as a WSGI server would."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from werkzeug.test import EnvironBuilder

COUNT = 3000


def configure_django(database: str = ":memory:") -> None:
    """The settings of a new project, its middleware included; a server's threads need a *database* in a file."""
    settings.configure(
        SECRET_KEY="k" * 50,
        ALLOWED_HOSTS=["*"],
        ROOT_URLCONF=__name__,
        LOGGING_CONFIG=None,
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        MIDDLEWARE=[
            "django.middleware.security.SecurityMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.common.CommonMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
            "django.middleware.clickjacking.XFrameOptionsMiddleware",
        ],
    )


def instrument(variant: str) -> None:
    """Put in place what *variant* says."""
    if variant == "otel-audit":
        import otel_audit
        from otel_audit_django import DjangoAuditInstrumentor
        from otel_audit_sqlite3 import SQLite3AuditInstrumentor

        otel_audit.configure()
        SQLite3AuditInstrumentor().instrument()
        DjangoAuditInstrumentor().instrument()
    elif variant.startswith("contrib"):
        from opentelemetry import trace
        from opentelemetry.instrumentation.django import (  # pyright: ignore[reportMissingTypeStubs]
            DjangoInstrumentor,
        )
        from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

        trace.set_tracer_provider(TracerProvider(sampler=ALWAYS_OFF if "away" in variant else ALWAYS_ON))
        DjangoInstrumentor().instrument()  # pyright: ignore[reportUnknownMemberType]
        SQLite3Instrumentor().instrument()


urlpatterns: list[Any] = []


def application(queries: int) -> Any:
    """One route, *queries* statements a request."""
    import django
    from django.core.wsgi import get_wsgi_application
    from django.db import connection
    from django.http import HttpRequest, JsonResponse
    from django.urls import path

    django.setup()

    def customer(request: HttpRequest, number: int) -> JsonResponse:  # noqa: ARG001 - a view's shape
        name = ""
        for _ in range(queries):
            with connection.cursor() as cursor:
                cursor.execute("select name from customers where id = %s", [number])
                (name,) = cursor.fetchone()
        return JsonResponse({"name": name})

    urlpatterns.append(path("customers/<int:number>", customer))
    with connection.cursor() as cursor:
        cursor.execute("create table customers (id integer primary key, name text)")
        cursor.execute("insert into customers values (42, 'x')")
    return get_wsgi_application()


def main() -> None:
    """Print the figure."""
    sys.modules[__name__] = sys.modules["__main__"]
    variant, _, queries = sys.argv[1].partition("/")
    configure_django()
    instrument(variant)
    app = application(int(queries or 1))
    headers = [("User-Agent", "Mozilla/5.0 (X11; Linux x86_64)")]
    environ = EnvironBuilder("/customers/42", headers=headers).get_environ()
    environ["REMOTE_ADDR"] = "192.0.2.17"

    def start_response(status: str, headers: object, exc_info: object = None) -> Callable[[bytes], object]:
        del status, headers, exc_info
        return bytes

    def call() -> None:
        body = app(dict(environ), start_response)
        for _ in body:
            pass
        body.close()

    for _ in range(300):
        call()
    began = time.process_time()
    for _ in range(COUNT):
        call()
    print((time.process_time() - began) / COUNT * 1e6)


if __name__ == "__main__":
    main()
