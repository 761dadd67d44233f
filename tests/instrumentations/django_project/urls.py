"""Where the views stand."""

from django.contrib import admin
from django.urls import include, path, re_path

from tests.instrumentations.django_project import views

urlpatterns = [
    path("customers/<int:number>", views.customer),
    path("customers", views.create),
    path("old", views.old),
    path("denied/<int:status>", views.denied),
    path("bug", views.bug),
    path("handled", views.handled),
    path("unavailable", views.unavailable),
    path("missing", views.missing),
    path("suspicious", views.suspicious),
    path("stream", views.stream),
    path("broken-stream", views.broken_stream),
    path("async-stream", views.async_stream),
    path("endless", views.endless),
    path("patient", views.patient),
    path("nested", views.nested),
    path("span", views.span),
    path("buy", views.buy),
    path("buy-and-fail", views.buy_and_fail),
    path("cookie", views.cookie),
    path("raise/<what>", views.raising),
    path("async", views.async_view),
    path("async-bug", views.async_bug),
    path("file", views.file),
    path("static/<path:filename>", views.static),
    path("reset/<token>", views.reset),
    re_path(r"^people/(?P<who>[^/]+)$", views.person),
    path("form", views.form),
    path("public", views.public),
    path("session-only", views.session_only),
    path("whoami", views.whoami),
    path("async-whoami", views.async_whoami),
    path("private", views.private),
    path("own-private", views.own_private),
    path("acting", views.acting),
    path("sign-in", views.sign_in),
    path("sign-out", views.sign_out),
    path("api", views.Api.as_view()),
    path("hijack/", include("hijack.urls")),
    path("admin/", admin.site.urls),
]
