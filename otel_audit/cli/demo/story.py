"""The demonstration, told in six chapters. Every command that it shows is one that it runs."""

from __future__ import annotations

import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table
from rich.text import Text

from otel_audit.cli import terminal
from otel_audit.cli.demo import tampering, traffic
from otel_audit.cli.demo.server import Server
from otel_audit.cli.terminal import say
from otel_audit.cli.verdict import STYLES
from otel_audit.errors import SourceError

_PROMISE = timedelta(hours=1)
"""Longer than any seal may be promised ahead: twice 300 s and one ("Stream" in the evidence format)."""


@dataclass(frozen=True, slots=True)
class Named:
    """A finding that the verifier has to name."""

    kind: str
    stream: str
    seq: int | None = None

    def is_in(self, document: bytes) -> bool:
        """True where what `verify --json` printed has it."""
        return any(
            finding["kind"] == self.kind and finding["stream"] == self.stream and self.seq in (None, finding["seq"])
            for finding in orjson.loads(document)["findings"]
        )


class Story:
    """Runs and tells the demonstration in *directory*; silent, it only notes what came of each step."""

    def __init__(self, directory: Path, *, is_silent: bool) -> None:
        self.steps: list[dict[str, Any]] = []
        self.is_as_told = True
        """False once a command ended with another status than the story says."""
        self._directory = directory
        self._log = directory / "log"
        self._console = Console(quiet=True) if is_silent else terminal.answers()
        self._passwords = {name: secrets.token_urlsafe(12) for name in ("alice", "bob")}
        self._environ = self._clean_environ()
        self._chapter = 0

    def tell(self) -> None:
        """Tell it from the beginning to the end.

        Raises:
            SourceError: the application did not start or answer, or left no log to go on with.
        """
        self._application_runs()
        self._log_is_shown()
        self._one_request_is_shown()
        self._log_is_verified()
        self._record_is_altered()
        self._end_is_cut_off()

    def _application_runs(self) -> None:
        self._begin(
            "An application, and three people who use it",
            "shop.py is an ordinary Flask application on SQLite; nothing in it knows of auditing. "
            "It is started like this:",
        )
        self._show_command("OTEL_SERVICE_NAME=shop opentelemetry-instrument gunicorn --workers 2 shop:app")
        shutil.copy(Path(__file__).with_name("shop.py"), self._directory)
        self._python("import shop; shop.create_database()")
        # In this order: when something fails, server and socket go first, so that no request waits any longer
        with ThreadPoolExecutor(3) as people, socket.create_server(("127.0.0.1", 0)) as listener:
            listener.set_inheritable(True)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            passwords = self._passwords
            with self._server(listener) as server:
                users = [
                    people.submit(traffic.alice, address, passwords["alice"]),
                    people.submit(traffic.bob, address, passwords["bob"]),
                    people.submit(traffic.mallory, address),
                ]
                try:
                    answered = [one for user in users for one in user.result()]
                except OSError as error:
                    server.check()
                    raise SourceError(f"the application at {address} did not answer: {error}") from error
            self._print_answered(answered)
            self._say("The service is stopped for the night, and started again for bob in the morning.")
            with self._server(listener):
                answered += traffic.next_morning(address, passwords["bob"])
        self.steps.append(
            {"step": "traffic", "requests": len(answered), "statuses": [one.status for one in answered]}
        )

    def _log_is_shown(self) -> None:
        self._begin(
            "What happened?",
            "One line for each request, with who, what, and how it ended; whatever was done in the database has "
            "lines of its own (left out here).",
        )
        self._otel_audit("show", "--event", "http.*", expect=0)

    def _one_request_is_shown(self) -> None:
        self._begin(
            "One request, whole",
            "Alice deletes a customer. A request and its statements share a trace id, and every one of them says "
            "who: the person, not the database account.",
        )
        wanted = ("show", "--actor", "alice", "--action", "DELETE", "--event", "http.*", "--json")
        lines = self._captured(*wanted).stdout.splitlines()
        if not lines:
            raise SourceError("the log has no deletion by alice: the application was not audited")
        self._otel_audit("show", "--trace", str(orjson.loads(lines[-1])["trace_id"]), expect=0)

    def _log_is_verified(self) -> None:
        self._begin(
            "Is it whole and unaltered?",
            "Each record carries the fingerprint of the one before, and a signed seal covers them all. An auditor "
            "needs the log and the issuer's certificate.",
        )
        self._show_command("otel-audit keys export > issuer.pem")
        (self._directory / "issuer.pem").write_bytes(self._captured("keys", "export").stdout)
        self._otel_audit("verify", "log", "--trust", "issuer.pem", expect=0)

    def _record_is_altered(self) -> None:
        self._begin(
            "Somebody edits the log", "Bob was denied a deletion. In a copy, a few letters make that alice's:"
        )
        edit = tampering.blame_another(tampering.copy_log(self._log, self._directory / "edited"), "bob", "alice")
        say(self._console, Text(f"- {edit.before}", style="red"), 4)
        say(self._console, Text(f"+ {edit.after}", style="green"), 4)
        self._console.print()
        self._otel_audit(
            "verify", "edited", "--trust", "issuer.pem", expect=1, names=Named("altered", edit.stream, edit.seq)
        )

    def _end_is_cut_off(self) -> None:
        self._begin(
            "Somebody cuts the end off",
            "In another copy, the last records of the first day are gone. What is left is a perfect chain, but the "
            "stream of the next morning names the end that it found:",
        )
        first, *_, last = tampering.streams_by_time(tampering.copy_log(self._log, self._directory / "cut"))
        tampering.cut_end(first, 3)
        self._otel_audit(
            "verify",
            "cut",
            "--trust",
            "issuer.pem",
            expect=1,
            names=Named("truncated", first.parent.name),
            only_headline=True,
        )
        self._say(
            "The newest end is named by nothing yet. Cut off there, it is missed once the next seal, promised "
            "within two minutes, does not come (here: an hour later):"
        )
        copy = tampering.copy_log(self._log, self._directory / "newest-cut")
        newest = copy / last.relative_to(self._directory / "cut")
        tampering.cut_end(newest, 1)
        later = f"{datetime.now(UTC) + _PROMISE:%Y-%m-%dT%H:%M:%SZ}"
        self._otel_audit(
            *("verify", "newest-cut", "--trust", "issuer.pem", "--now", later),
            expect=3,
            names=Named("overdue-seal", newest.parent.name),
            only_headline=True,
        )
        self._say("Your own application: OTEL_SERVICE_NAME=… opentelemetry-instrument …, then otel-audit show.")

    # How it is told

    def _begin(self, title: str, text: str) -> None:
        self._chapter += 1
        self._console.print()
        self._console.rule(Text(f"{self._chapter}. {title}", style="bold"), align="left", style="dim")
        self._say(text)

    def _say(self, text: str) -> None:
        say(self._console, Text(text))
        self._console.print()

    def _show_command(self, command: str) -> None:
        say(self._console, Text(f"$ {command}", style="bold cyan"), 2)
        self._console.print()

    def _print_answered(self, answered: Sequence[traffic.Answered]) -> None:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 2), show_header=False)
        for one in answered:
            style = STYLES["tampered" if one.status >= 400 else "verified"]
            table.add_row(Text(one.who), Text(one.method), Text(one.path), Text(str(one.status), style=style))
        self._console.print(table)
        self._console.print()

    # What it runs

    def _otel_audit(
        self, *arguments: str, expect: int, names: Named | None = None, only_headline: bool = False
    ) -> None:
        """Show and run a command; note whether it ended with *expect* and, told silently, *names* that finding."""
        self._show_command(shlex.join(("otel-audit", *arguments)) + (" | head -n 1" if only_headline else ""))
        if self._console.quiet:
            ran = self._captured(*arguments, "--json")
            is_as_told = ran.returncode == expect and (names is None or names.is_in(ran.stdout))
        elif only_headline:
            ran = self._captured(*arguments)
            self._say(ran.stdout.decode().partition("\n")[0])
            is_as_told = ran.returncode == expect
        else:
            sys.stdout.flush()
            command = self._command(*arguments)
            ran = subprocess.run(command, cwd=self._directory, env=self._environ, check=False)  # noqa: S603 - ours
            is_as_told = ran.returncode == expect
            self._console.print()
        self.is_as_told &= is_as_told
        self.steps.append({"step": list(arguments), "exit_status": ran.returncode, "as_told": is_as_told})
        if not is_as_told:
            self._say(f"This did not go as told: exit status {ran.returncode}, expected {expect}.")

    def _captured(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(  # noqa: S603 - our own command
            self._command(*arguments), cwd=self._directory, env=self._environ, capture_output=True, check=False
        )

    @staticmethod
    def _command(*arguments: str) -> Sequence[str]:
        return [sys.executable, "-m", "otel_audit.cli", *arguments]

    def _python(self, code: str) -> None:
        command = [sys.executable, "-c", code]
        subprocess.run(command, cwd=self._directory, env=self._environ, check=True)  # noqa: S603 - our own code

    def _server(self, listener: socket.socket) -> Server:
        return Server(listener, self._directory, self._environ, self._directory / "gunicorn.log")

    def _clean_environ(self) -> dict[str, str]:
        """The environment of this process, with nobody's OpenTelemetry or gunicorn settings but our own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GUNICORN_"))}
        exporters = {f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")}
        return (
            kept
            | exporters
            | {
                "OTEL_SERVICE_NAME": "shop",
                "OTEL_AUDIT_DIR": str(self._log),
                "SHOP_DATABASE": str(self._directory / "shop.db"),
                "SHOP_SECRET_KEY": secrets.token_hex(32),
                "SHOP_ALICE": self._passwords["alice"],
                "SHOP_BOB": self._passwords["bob"],
            }
        )
