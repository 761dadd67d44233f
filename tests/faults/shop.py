"""A served Flask application with several workers, and what it was asked."""

from __future__ import annotations

from tests.autoload.servers import Program, wait_for

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--worker-class", "gthread", "--threads", "4", "--timeout", "0")


class Shop:
    """A running server, and what it was asked."""

    def __init__(self, program: Program, workers: int) -> None:
        self.program = program
        self.asked: list[str] = []
        self.workers = self.ask_all(workers)

    def ask(self) -> str:
        path = f"/items/{len(self.asked)}{self.program.pid}"
        self.asked.append(path)
        return self.program.get(path)

    def ask_all(self, workers: int) -> list[int]:
        """Ask until so many workers have answered, and say which processes they are."""
        pids: set[str] = set()

        def have_answered() -> bool:
            pids.add(self.ask())
            return len(pids) == workers

        wait_for(have_answered, f"answers of {workers} workers")
        return sorted(map(int, pids))
