"""A server over stdio with one fault: ``python -m mcp_orchestra.testing.faults.stdio crashes --on=tools/call``.

Each fault is one function: of the process, before it serves, or of a request, instead of its answer.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from mcp_orchestra.testing.faults.healthy import COMMON, discovered, result_of

__all__ = ["PROCESS_FAULTS", "REQUEST_FAULTS", "main"]

_SIZE = 20_000_000
_DEPTH = 100_000
_LINE = "nothing to see here " * 50

Request = Mapping[str, Any]


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _say(text: str) -> None:
    _write(text.encode() + b"\n")


def _message(request: Request, **members: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": request["id"], **members})


def _answer(request: Request, **changes: object) -> None:
    result = result_of(request["method"])
    if result is None:
        _say(_message(request, error={"code": -32601, "message": "Method not found"}))
    else:
        _say(_message(request, result={**result, **changes}))


def _stay() -> NoReturn:
    while True:
        time.sleep(3600)


# Faults of the process


def exits_at_once(_size: int) -> None:
    """Say why on standard error and exit with status 3 before anything is answered."""
    sys.stderr.write("the database is not there\n")
    sys.exit(3)


def stops_reading(_size: int) -> None:
    """Shake hands and then read nothing any more."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" in request:
            _say(_message(request, result=discovered()))
            _stay()


def ignores_shutdown(_size: int) -> None:
    """Serve, and go on living after the end of its input and after SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def leaves_child(_size: int) -> None:
    """Serve, and leave at the end of its input a child behind that ignores SIGTERM and holds its pipes."""
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(3600)"
    subprocess.Popen([sys.executable, "-I", "-S", "-c", code])  # noqa: S603 - a constant


def floods_stderr(size: int) -> None:
    """Write 20 MB to standard error and serve."""
    line = _LINE + "\n"
    for _ in range((size or _SIZE) // len(line)):
        sys.stderr.write(line)


def banner(_size: int) -> None:
    """Write a greeting and log lines to standard output and serve."""
    _say('Welcome!\n\n{"level": "info", "message": "starting"}')


PROCESS_FAULTS: dict[str, Callable[[int], None]] = {
    "exits-at-once": exits_at_once,
    "stops-reading": stops_reading,
    "ignores-shutdown": ignores_shutdown,
    "leaves-child": leaves_child,
    "floods-stderr": floods_stderr,
    "banner": banner,
}
"""What happens before the first request is read."""


# Faults of a request


def answers(request: Request, _size: int) -> None:
    """Answer as one should: what fails is the process."""
    _answer(request)


def hangs(_request: Request, _size: int) -> None:
    """Never answer, but read on."""


def crashes(_request: Request, _size: int) -> None:
    """Die of SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


def exits(_request: Request, _size: int) -> None:
    """Exit with status 3."""
    sys.exit(3)


def closes_stdout(_request: Request, _size: int) -> None:
    """Close standard output and live on."""
    os.close(1)
    _stay()


def closes_stdin(_request: Request, _size: int) -> None:
    """Close standard input, answer nothing and live on."""
    os.close(0)
    _stay()


def notifies_endlessly(_request: Request, _size: int) -> None:
    """Send a notification every 10 ms, and no answer."""
    while True:
        _say('{"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "still here"}}')
        time.sleep(0.01)


def garbage(_request: Request, _size: int) -> None:
    """Write a line that is not JSON instead of an answer."""
    _say("Traceback (most recent call last): {[")


def half_line(request: Request, _size: int) -> None:
    """Write half of the answer and die."""
    _write(_message(request, result=COMMON)[:30].encode())
    os.kill(os.getpid(), signal.SIGKILL)


def invalid_utf8(request: Request, _size: int) -> None:
    """Write a line of bytes that are no UTF-8, and then the right answer."""
    _write(b"\xff\xfe\x00 no text\n")
    _answer(request)


def huge_line(request: Request, size: int) -> None:
    """Answer with a line of 20 MB."""
    _answer(request, _meta={"x": "x" * (size or _SIZE)})


def deep_json(request: Request, size: int) -> None:
    """Answer with lists in lists, 100 000 deep."""
    depth = size or _DEPTH
    _say(_message(request, result=None).replace("null", "[" * depth + "]" * depth))


def not_a_number(request: Request, _size: int) -> None:
    """Answer with a NaN, which is not JSON."""
    _answer(request, _meta={"x": float("nan")})


def foreign_id(request: Request, _size: int) -> None:
    """Answer a request that nobody made."""
    _answer({**request, "id": 987_654_321})


def malformed(request: Request, _size: int) -> None:
    """Answer with a result of the wrong shape."""
    _say(_message(request, result={**COMMON, "resources": 7, "tools": 7, "contents": 7, "content": 7}))


def endless_cursor(request: Request, _size: int) -> None:
    """Answer a listing with a page that has always one more after it."""
    cursor = int(request["params"].get("cursor") or 0)
    _answer(request, nextCursor=str(cursor + 1))


def repeated_cursor(request: Request, _size: int) -> None:
    """Answer a listing with a page that names itself as the next one."""
    _answer(request, nextCursor="again")


REQUEST_FAULTS: dict[str, Callable[[Request, int], None]] = {
    "silent": hangs,
    "hangs": hangs,
    "crashes": crashes,
    "exits": exits,
    "closes-stdout": closes_stdout,
    "closes-stdin": closes_stdin,
    "notifies-endlessly": notifies_endlessly,
    "garbage": garbage,
    "half-line": half_line,
    "invalid-utf8": invalid_utf8,
    "huge-line": huge_line,
    "deep-json": deep_json,
    "not-a-number": not_a_number,
    "foreign-id": foreign_id,
    "malformed": malformed,
    "endless-cursor": endless_cursor,
    "repeated-cursor": repeated_cursor,
}
"""What happens instead of an answer. The one that is ``silent`` does not even answer ``server/discover``."""


def main() -> None:
    """Serve with one fault, as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m mcp_orchestra.testing.faults.stdio")
    parser.add_argument("fault", choices=[*PROCESS_FAULTS, *REQUEST_FAULTS])
    parser.add_argument("--on", default="", help="the methods that it does so on, with commas between; all by default")
    parser.add_argument("--size", type=int, default=0, help="bytes or depth, where the fault has one")
    args = parser.parse_args()
    methods = set(args.on.split(",")) - {""}
    if (prepare := PROCESS_FAULTS.get(args.fault)) is not None:
        prepare(args.size)
    misbehave = REQUEST_FAULTS.get(args.fault, answers)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        if "id" not in request:
            continue
        method = request["method"]
        if method in methods or (not methods and (method != "server/discover" or args.fault == "silent")):
            misbehave(request, args.size)
        else:
            _answer(request)
    if args.fault == "ignores-shutdown":
        _stay()


if __name__ == "__main__":
    main()
