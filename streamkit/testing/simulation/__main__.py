"""`python -m streamkit.testing.simulation MODULE:NAME --seeds 10000 --processes 2`: many lives, in several processes.

NAME is a processor as for `streamkit run`, or a mapping of several, which take the seeds in turn. Exit code 1: a rule was broken.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from streamkit.testing.simulation.run import Report, SimulationFailed, lived, planned, subject_of
from streamkit.testing.simulation.subject import Subject

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """The exit code."""
    asked = _parser().parse_args(arguments)
    first = random.SystemRandom().randrange(10**9) if asked.first is None else asked.first
    if asked.slice is not None:
        return _slice(asked, first, asked.slice)
    print(f"simulation: from seed {first} on", flush=True)
    command = [sys.executable, "-m", "streamkit.testing.simulation", *arguments, "--first", str(first)]
    slices = [subprocess.Popen([*command, "--slice", str(number)], stdout=subprocess.PIPE, text=True) for number in range(asked.processes)]
    report, failed = Report(first), False
    for process in slices:
        said, _ = process.communicate()
        if process.returncode not in (0, 1):
            return process.returncode or 1  # it has said why
        failed = failed or process.returncode != 0
        told = json.loads(said)
        report.merge(Report(**{**told, "kinds": Counter(told["kinds"]), "events": Counter(told["events"])}))
    print(report)
    if not failed:
        report.check()
    return int(failed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m streamkit.testing.simulation", description="Many simulated lives of a processor.")
    parser.add_argument("target", metavar="MODULE:NAME", help="a processor, an App, or a mapping of several")
    parser.add_argument("--seeds", type=int, default=1000, help="how many lives that are not quiet")
    parser.add_argument("--first", type=int, default=None, help="the first seed; by chance if it is not given")
    parser.add_argument("--processes", type=int, default=1, help="how many work at once")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further life after so long")
    parser.add_argument("--keep-going", action="store_true", help="do not end with the first life that fails")
    parser.add_argument("--no-shrink", action="store_true", help="show a life that fails as it is")
    parser.add_argument("--slice", type=int, default=None, help=argparse.SUPPRESS)
    return parser


def _slice(asked: argparse.Namespace, first: int, number: int) -> int:
    """Every so many-th seed. Failures go to stderr; what is printed is the report, for the process that has asked."""
    subjects = _subjects(asked.target)
    report, began, failed = Report(first), time.perf_counter(), False
    wanted = len(range(number, asked.seeds, asked.processes))
    seed = first + number
    while report.lives < wanted and time.perf_counter() - began < asked.seconds:
        name, subject = subjects[seed % len(subjects)]
        try:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # what the processor prints, ten thousand times
                report.add(lived(planned(seed, subject), subject, shrink=not asked.no_shrink))
        except SimulationFailed as failure:
            print(f"{name}: {failure}\n", file=sys.stderr, flush=True)
            failed = True
            if not asked.keep_going:
                break
        seed += asked.processes
    report.seconds = time.perf_counter() - began
    print(json.dumps(vars(report)), flush=True)
    return int(failed)


def _subjects(target: str) -> Sequence[tuple[str, Subject]]:
    sys.path.insert(0, str(Path.cwd()))
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(module), name)
    named = found if isinstance(found, Mapping) else {target: found}
    return [(str(name), subject_of(one)) for name, one in named.items()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
