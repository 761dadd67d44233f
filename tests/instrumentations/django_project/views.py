"""Views of every kind: synchronous, asynchronous, streaming, failing, refusing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, cast
from urllib.parse import quote

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import (
    FileResponse,
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.test import Client
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_safe
from django.views.static import serve
from opentelemetry import trace
from rest_framework.authentication import BasicAuthentication, SessionAuthentication, TokenAuthentication
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

import otel_audit
from otel_audit import Actor
from tests.instrumentations.django_project.errors import Teapot
from tests.instrumentations.django_project.shop.models import Tag


class GoneMiddleware:
    """Answers one exception by itself, and one path before any view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path == "/by-middleware":
            return HttpResponse("no", status=403)
        if request.path == "/bug-in-middleware":
            raise Teapot("a secret in a message")
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """As an error handler of other frameworks."""
        return HttpResponse("no such thing", status=410) if isinstance(exception, LookupError) else None


@csrf_exempt
def customer(request: HttpRequest, number: int) -> HttpResponse:
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return JsonResponse({"id": number})
    return HttpResponse(status=204)


@csrf_exempt
def create(request: HttpRequest) -> HttpResponse:
    return HttpResponse("made", status=201)


@csrf_exempt
@require_safe
def old(request: HttpRequest) -> HttpResponse:
    return HttpResponseRedirect("/customers/1")


def denied(request: HttpRequest, status: int) -> HttpResponse:
    if status == 403:
        raise PermissionDenied("a secret in a message")
    return HttpResponse(status=status)


def bug(request: HttpRequest) -> NoReturn:
    raise Teapot("a secret in a message")


def handled(request: HttpRequest) -> NoReturn:
    raise LookupError("handled by the application")


def unavailable(request: HttpRequest) -> HttpResponse:
    return HttpResponse("later", status=503)


def missing(request: HttpRequest) -> NoReturn:
    raise Http404("a secret in a message")


def suspicious(request: HttpRequest) -> NoReturn:
    raise SuspiciousOperation("a secret in a message")


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield "abc"
        otel_audit.get_audit_logger("shop").emit("shop.streamed", action="READ")
        yield "de"

    return StreamingHttpResponse(body())


def broken_stream(request: HttpRequest) -> StreamingHttpResponse:
    def body() -> Iterator[str]:
        yield "abc"
        raise Teapot

    return StreamingHttpResponse(body())


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        yield "abc"
        await asyncio.sleep(0)
        yield "de"

    return StreamingHttpResponse(body())


async def endless(request: HttpRequest) -> StreamingHttpResponse:
    async def body() -> AsyncIterator[str]:
        while True:
            yield "abc"
            await asyncio.sleep(0)

    return StreamingHttpResponse(body())


waiting: list[str] = []
"""Paths of requests that wait for ever."""


async def patient(request: HttpRequest) -> HttpResponse:
    waiting.append(request.path)
    await asyncio.Event().wait()
    return HttpResponse("never")


def buy(request: HttpRequest) -> HttpResponse:
    Tag.objects.create(word=cast("Any", request.user).username)
    return HttpResponse("bought")


def buy_and_fail(request: HttpRequest) -> NoReturn:
    Tag.objects.create(word=cast("Any", request.user).username)
    raise Teapot


def cookie(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("treasure")
    response.set_cookie("given", "away")
    return response


def raising(request: HttpRequest, what: str) -> NoReturn:
    raise ValueError(what)


def span(request: HttpRequest) -> HttpResponse:
    ids = trace.get_current_span().get_span_context()
    return HttpResponse(f"{ids.trace_id:032x} {ids.span_id:016x}")


def nested(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Client().get("/old").status_code))


async def async_view(request: HttpRequest) -> HttpResponse:
    await asyncio.sleep(0)
    otel_audit.get_audit_logger("shop").emit("shop.looked", action="READ")
    return HttpResponse("async")


async def async_bug(request: HttpRequest) -> NoReturn:
    await asyncio.sleep(0)
    raise Teapot("a secret in a message")


def folder() -> Path:
    return Path(settings.DATABASES["default"]["NAME"]).parent


def static(request: HttpRequest, filename: str) -> HttpResponseBase:
    return serve(request, filename, document_root=str(folder()))


def file(request: HttpRequest) -> FileResponse:
    return FileResponse((folder() / "style.css").open("rb"))


def reset(request: HttpRequest, token: str) -> HttpResponse:
    return HttpResponse("ok")


def person(request: HttpRequest, who: str) -> HttpResponse:
    return HttpResponse("ok")


@csrf_protect
def form(request: HttpRequest) -> HttpResponse:
    return HttpResponse(request.POST.get("name", ""))


def public(request: HttpRequest) -> HttpResponse:
    """Never looks at the session, nor at the user."""
    return HttpResponse("public")


def session_only(request: HttpRequest) -> HttpResponse:
    """Looks at the session, and not at the user."""
    return HttpResponse(str(request.session.get("seen")))


def whoami(request: HttpRequest) -> HttpResponse:
    return HttpResponse(cast("Any", request.user).get_username() or "nobody")


def _user(request: HttpRequest) -> Any:
    request.user.is_authenticated  # noqa: B018 - loads it
    return request.user


async def async_whoami(request: HttpRequest) -> HttpResponse:
    # Django 4.2 has no `auser`
    user = await request.auser() if hasattr(request, "auser") else await sync_to_async(_user)(request)
    return HttpResponse(cast("Any", user).get_username() or "nobody")


@login_required
def private(request: HttpRequest) -> HttpResponse:
    return HttpResponse("private")


def own_private(request: HttpRequest) -> HttpResponse:
    """Turns away by the project's own redirect, as products do."""
    if not cast("Any", request.user).is_authenticated:
        return HttpResponseRedirect(f"/enter/?lang=en&next={quote(request.path)}")
    return HttpResponse("private")


def acting(request: HttpRequest) -> HttpResponse:
    with otel_audit.acting_as(Actor("robot", "service")):
        return HttpResponse("acting")


def sign_in(request: HttpRequest) -> HttpResponse:
    user = authenticate(request, username=request.POST.get("username"), password=request.POST.get("password"))
    if user is None:
        return HttpResponse("wrong", status=401)
    login(request, user)
    return HttpResponse("in")


def sign_out(request: HttpRequest) -> HttpResponse:
    logout(request)
    return HttpResponse("out")


class Api(APIView):
    """An endpoint for machines."""

    authentication_classes = (BasicAuthentication, TokenAuthentication, SessionAuthentication)
    permission_classes = (IsAuthenticated,)

    def get(self, request: Any) -> Response:
        return Response({"user": request.user.get_username()})
