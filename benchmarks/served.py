"""What `request_tail.py` has served: a route with one sqlite3 query, in the variant that BENCH_VARIANT names.

`served:flask_app` for gunicorn, `served:django_app` (ASGI) for uvicorn; each is made when it is first asked for.
Django's database is a file in the working directory.
"""

from __future__ import annotations

import os
from typing import Any

_NAMED = os.environ.get("BENCH_VARIANT", "bare")
_VARIANT = _NAMED if _NAMED.startswith("contrib") else _NAMED.split(",", maxsplit=1)[0]
"""How otel-audit is set up is in the environment."""


def _flask() -> Any:
    from benchmarks import flask_request

    flask_request.instrument(_VARIANT)
    return flask_request.application(1)


def _django() -> Any:
    from django.core.asgi import get_asgi_application

    from benchmarks import django_request

    django_request.configure_django("bench.sqlite3")
    django_request.instrument(_VARIANT)
    django_request.application(1)
    return get_asgi_application()


def __getattr__(name: str) -> Any:
    """`flask_app` and `django_app`, made when a server asks for them."""
    if name not in ("flask_app", "django_app"):
        raise AttributeError(name)
    made = globals()[name] = _flask() if name == "flask_app" else _django()
    return made
