"""What a real run does to its files, as strace sees it: one operation after the other, each with its bytes."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["create", "write", "truncate", "sync", "rename", "link", "unlink", "mkdir", "rmdir"]

_CALLS = (
    "open,openat,creat,write,pwrite64,writev,pwritev,pwritev2,sendfile,copy_file_range,truncate,ftruncate,fallocate,"
    "fsync,fdatasync,sync_file_range,msync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,unlink,unlinkat,"
    "mkdir,mkdirat,rmdir,mmap"
)
_LINE = re.compile(r"^(?P<pid>\d+) +(?P<rest>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)$")
_UNFINISHED = " <unfinished ...>"
_CALL = re.compile(r"^(?P<call>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
_DESCRIPTOR = re.compile(r"^(?:\d+|AT_FDCWD)<(?P<path>(?:\\x[0-9a-f]{2})*)>")
_STRINGS = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PATHS = re.compile(r'(?:(?:\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>, )?"((?:\\x[0-9a-f]{2})*)"')


@dataclass(frozen=True, slots=True)
class Operation:
    """One successful call. Paths are absolute; *began* is the count of operations that were over when it began."""

    kind: Kind
    path: str
    to: str = ""
    data: bytes = b""
    size: int = 0
    appends: bool = False
    began: int = 0


def is_available() -> str:
    """Empty, or why nothing can be recorded here."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else f"strace may trace nothing here: {tried.stderr.decode().strip()}"


def record(
    command: Sequence[str], environment: dict[str, str], folder: Path, *, below: Sequence[Path]
) -> list[Operation]:
    """Run *command* to its end; what it did to files *below* those places, in the order in which it was done."""
    trace = folder / "trace"
    strace = ["strace", "-f", "-y", "-xx", "-s", "1000000", "-o", str(trace), "-e", f"trace={_CALLS}", "--"]
    ran = subprocess.run([*strace, *command], env=environment, cwd=folder, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"Traceback" not in ran.stderr, ran.stderr.decode()
    return parse(trace, [str(path) for path in below])


def parse(trace: Path, below: Sequence[str]) -> list[Operation]:
    """Read strace's output; a call that another thread's interrupts takes effect when it returns."""
    done: list[Operation] = []
    began: dict[str, tuple[str, int]] = {}
    appending: dict[str, bool] = {}
    with trace.open(encoding="ascii") as lines:
        for line in lines:
            matched = _LINE.match(line.rstrip("\n"))
            assert matched, line
            pid, rest = matched["pid"], matched["rest"]
            if rest.endswith(_UNFINISHED):
                began[pid] = (rest.removesuffix(_UNFINISHED), len(done))
                continue
            start = len(done)
            resumed = _RESUMED.match(rest)
            if resumed:
                text, start = began.pop(pid)
                rest = text + resumed["rest"]
            call = _CALL.match(rest)
            if call and int(call["result"]) >= 0:
                done += [
                    operation
                    for operation in _operations(
                        call["call"], call["arguments"], int(call["result"]), start, appending
                    )
                    if any(operation.path == place or operation.path.startswith(place + "/") for place in below)
                ]
    return done


def _operations(  # noqa: PLR0912 - a table of calls
    call: str, arguments: str, result: int, began: int, appending: dict[str, bool]
) -> list[Operation]:
    match call:
        case "open" | "openat" | "creat":
            path = _named(arguments)
            made: list[Operation] = []
            if "O_CREAT" in arguments or call == "creat":
                made.append(Operation("create", path))
            if "O_CREAT" in arguments or "O_WRONLY" in arguments or "O_RDWR" in arguments:
                appending[path] = "O_APPEND" in arguments
            if "O_TRUNC" in arguments:
                made.append(Operation("truncate", path))
            return made
        case "write":
            path = _opened(arguments)
            data = _bytes(_STRINGS.findall(arguments)[0])[:result]
            assert len(data) == result
            return [Operation("write", path, data=data, appends=appending.get(path, False))]
        case "ftruncate":
            return [Operation("truncate", _opened(arguments), size=int(arguments.rsplit(", ", 1)[1]))]
        case "fallocate":
            # the one use that there is: blocks beyond the end, which change nothing that can be read
            assert "FALLOC_FL_KEEP_SIZE" in arguments, arguments
            return []
        case "fsync" | "fdatasync":
            return [Operation("sync", _opened(arguments), began=began)]
        case "rename" | "renameat" | "renameat2" | "link" | "linkat":
            path, to = (_joined(*found) for found in _PATHS.findall(arguments))
            return [Operation("link" if call.startswith("link") else "rename", path, to)]
        case "unlink" | "unlinkat" | "rmdir":
            is_directory = call == "rmdir" or "AT_REMOVEDIR" in arguments
            return [Operation("rmdir" if is_directory else "unlink", _named(arguments))]
        case "mkdir" | "mkdirat":
            return [Operation("mkdir", _named(arguments))]
        case "mmap":
            is_mapped_file = "<" in arguments and "MAP_SHARED" in arguments and "PROT_WRITE" in arguments
            assert not is_mapped_file, f"a mapped file is not modelled: {arguments}"
            return []
        case _:
            raise AssertionError(f"{call}({arguments}): how a disk takes this is not modelled")


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


def _opened(arguments: str) -> str:
    """Path of the descriptor that is a call's first argument."""
    matched = _DESCRIPTOR.match(arguments)
    return _bytes(matched["path"]).decode(errors="replace") if matched else ""


def _named(arguments: str) -> str:
    """The path that a call is given, after the descriptor of a directory or without one."""
    return _joined(*_PATHS.findall(arguments)[0])


def _joined(directory: str, name: str) -> str:
    return str(Path(_bytes(directory).decode()) / _bytes(name).decode())
