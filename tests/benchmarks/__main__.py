"""The command: asks the questions in turn and prints what came out."""

import argparse
import asyncio
import json
import logging
import os
import platform
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from benchmarks.cold_gather import cold_gather
from benchmarks.measure import Pace
from benchmarks.one_get import one_get
from benchmarks.profiles import profiles
from benchmarks.report import Report
from benchmarks.stampede import stampede
from benchmarks.stores import Places, places
from benchmarks.tool_call import tool_call
from benchmarks.warm_gather import warm_gather

Question = Callable[[Places, Pace], Coroutine[Any, Any, Report]]
QUESTIONS: dict[str, Question] = {
    "one-get": one_get,
    "warm-gather": warm_gather,
    "stampede": stampede,
    "cold-gather": cold_gather,
    "tool-call": tool_call,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmarks that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("questions", nargs="*", metavar="question", help=f"{', '.join(QUESTIONS)}; all by default")
    parser.add_argument("--rounds", type=int, default=Pace.rounds, help="turns for each system (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--check", action="store_true", help="fail if a target is not met")
    parser.add_argument("--profile", action="store_true", help="print where the time of a warm gather goes instead")
    options = parser.parse_args(arguments)
    if unknown := set(options.questions) - set(QUESTIONS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(QUESTIONS)}")
    if options.rounds < 2:
        parser.error("--rounds must be at least 2")
    logging.disable(logging.WARNING)
    with places() as where:
        if options.profile:
            asyncio.run(profiles(where))
            return 0
        reports: dict[str, Report] = {}
        for name in options.questions or QUESTIONS:
            print(f"{name} …", file=sys.stderr, flush=True)
            reports[name] = asyncio.run(QUESTIONS[name](where, Pace(rounds=options.rounds)))
            if not options.json:
                print(f"{reports[name].text()}\n", flush=True)
    conditions = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "load": [round(load, 1) for load in os.getloadavg()],
        "rounds": options.rounds,
    }
    if options.json:
        questions = {name: report.json() for name, report in reports.items()}
        print(json.dumps({**conditions, "questions": questions}, indent=1))
    else:
        print(", ".join(f"{name}: {value}" for name, value in conditions.items()))
    broken = [
        verdict for report in reports.values() for verdict in report.verdicts if verdict.binding and not verdict.met
    ]
    return 1 if options.check and broken else 0


if __name__ == "__main__":
    sys.exit(main())
