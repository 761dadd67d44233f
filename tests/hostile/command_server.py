"""Runs `otel-audit` again and again, each time in a process of its own that need not import anything first.

    python command_server.py FD    requests over the socket FD, which `commands.Commands` speaks

A request is one JSON object (`arguments`, `environ`, `directory`, `is_bound`) with three descriptors, which become
the standard ones; the answers are the process's id and, when it has ended, its wait status. A command that is bound
by permissions is so even as root.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

NOT_HERE = ("otel_audit.autoload", "otel_audit.cli.__main__", "otel_audit.cli.demo.shop", "otel_audit.testing")
"""What runs when it is imported, or belongs to others."""


def serve(connection: socket.socket) -> None:
    """Answer until the other side is gone."""
    _import_everything()
    while True:
        data, descriptors, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        if not data:
            return
        child = os.fork()
        if child == 0:
            _become(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.sendall(b"%d\n" % child)
        _, status = os.waitpid(child, 0)
        connection.sendall(b"%d\n" % status)


def _import_everything() -> None:
    package = importlib.import_module("otel_audit")
    for module in pkgutil.walk_packages(package.__path__, "otel_audit."):
        if module.name not in NOT_HERE and not module.name.endswith(("_survey", ".survey")):
            importlib.import_module(module.name)


def _become(request: dict[str, Any], descriptors: list[int]) -> NoReturn:
    status = 70
    try:
        os.setsid()
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
        os.closerange(3, 1024)
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE):
            signal.signal(name, signal.default_int_handler if name == signal.SIGINT else signal.SIG_DFL)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        from tests.privileges import be_bound_by_permissions

        os.chdir(request["directory"])
        os.environ.clear()
        os.environ.update(request["environ"])
        if request["is_bound"]:
            be_bound_by_permissions()
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115 - for the process's life
        sys.argv = ["otel-audit", *request["arguments"]]
        from otel_audit.cli.entry import main

        main()
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else 1
    except BaseException:  # noqa: BLE001 - as the interpreter would
        traceback.print_exc()
        status = 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except OSError:
                status = 120
        os._exit(status)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    serve(socket.socket(fileno=int(sys.argv[1])))
