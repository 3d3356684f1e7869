# SPDX-License-Identifier: MIT
"""Running a peer's program: once, often enough to know how many messages it takes, round after round, and counted."""

from __future__ import annotations

import math
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, field

from cases import EACH, MEAN, P50, RATE, Case

TIMEOUT = 30  # seconds for a run
LONG = 25  # seconds for all rounds of one peer in one case, where one run takes long; at least two are made
NONE = 3  # exit code: the peer has nothing for this case

COLUMNS = ["messages", "wall_ns", "cpu_ns", "p50_ns", "p99_ns", "bytes", "missed", "found"]


class Failed(Exception):
    """A run without a number."""


class NotInIt(Exception):
    """The peer has nothing for this case."""


@dataclass
class Run:
    round: str
    count: int  # messages asked for
    result: dict[str, int]
    syscalls: int | None = None
    why: str = ""


@dataclass
class Cell:
    """A peer in a case."""
    case: Case
    peer: str
    command: list[str]
    count: int = 0
    seconds: float = 0.0  # that one run takes, with its set-up
    runs: list[Run] = field(default_factory=list)
    syscalls: float | None = None  # for 1,000 messages
    why: str = ""  # there is no number
    failed: bool = False  # and that is an error
    absent: bool = False  # its program is not there

    def values(self) -> list[float]:
        return [] if self.why else [value(self.case, run.result) for run in self.runs if run.round.isdigit()]

    def column(self, key: str) -> list[int]:
        return [] if self.why else [run.result[key] for run in self.runs if run.round.isdigit() and key in run.result]

    def cpu(self) -> list[float]:
        """Processor time by message, in nanoseconds."""
        return [cpu / n for cpu, n in zip(self.column("cpu_ns"), self.column("messages"))]

    def fail(self, round: str, count: int, why: str) -> None:
        self.why, self.failed = why, True
        self.runs.append(Run(round, count, {}, why=why))


def value(case: Case, result: dict[str, int]) -> float:
    each = result["wall_ns"] / result["messages"]
    return {RATE: 1e3 / each, EACH: each, MEAN: each / 1e3, P50: result.get("p50_ns", 0) / 1e3}[case.measure]


#
# One run
#


@contextmanager
def child(argv: list[str], **more):
    """A process in a group of its own, which is gone in the end. (A session would have a share of the processors of its own.)"""
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, process_group=0, **more)
    try:
        yield process
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()


@contextmanager
def busy_processes(n: int):
    """They end by themselves, if this process is killed."""
    if n == 0:
        yield
        return
    with child(["timeout", str(TIMEOUT + 10), "sh", "-c", "while :; do :; done"], stdout=subprocess.DEVNULL):
        with busy_processes(n - 1):
            yield


def allowed() -> list[int]:
    return sorted(os.sched_getaffinity(0))


def arguments(cell: Cell, count: int) -> list[str]:
    case = cell.case
    keys = {**case.args, "messages": count, **({"place": case.place} if case.place else {})}
    pin = ["taskset", "-c", str(allowed()[0])] if case.pinned else []
    return [*pin, *cell.command, cell.peer, case.name, *(f"{key}={text}" for key, text in keys.items())]


def one_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0][:200] if lines else "it says nothing"


def parse(case: Case, count: int, out: str) -> dict[str, int]:
    """The line of a result, or Failed."""
    if not re.fullmatch(r"(\w+=\d+ )*\w+=\d+\n", out):
        raise Failed("its result is not a line of key=value")
    result = {key: int(text) for key, text in (pair.split("=") for pair in out.split())}
    wanted = ["messages", "wall_ns", "cpu_ns"] + (["p50_ns", "p99_ns"] if case.measure == P50 else [])
    missing = [key for key in wanted if result.get(key, 0) <= 0 and key != "cpu_ns" or key not in result]
    if missing:
        raise Failed(f"its result has no {', '.join(missing)}")
    if not count <= result["messages"] <= count + (case.step if case.step > 1 else 0):
        raise Failed(f"it was asked for {count} messages and tells of {result['messages']}")
    return result


def run(cell: Cell, count: int, prefix: list[str] = []) -> dict[str, int]:
    beside = len(allowed()) if cell.case.busy else 0
    start = time.monotonic()
    with busy_processes(beside):
        with child(prefix + arguments(cell, count), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                out, err = process.communicate(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                raise Failed(f"not done after {TIMEOUT} s") from None
    cell.seconds = time.monotonic() - start
    if process.returncode == NONE:
        raise NotInIt(one_line(err))
    if process.returncode < 0:
        raise Failed(f"killed by {signal.Signals(-process.returncode).name}")
    if process.returncode != 0:
        raise Failed(f"exit code {process.returncode}: {one_line(err)}")
    return parse(cell.case, count, out)


#
# All runs of a case
#

def tidy(count: float, case: Case) -> int:
    """Within its bounds, with two digits that count, and a multiple of the case's step."""
    count = max(case.least, min(case.most, count))
    unit = 10 ** max(0, int(math.log10(count)) - 1)
    return max(case.step, int(count / unit) * unit // case.step * case.step)


def calibrate(cell: Cell, target: float) -> None:
    """Find how many messages take about `target` seconds."""
    count = tidy(cell.case.least, cell.case)
    while True:
        wall = run(cell, count)["wall_ns"] / 1e9
        wanted = tidy(count * min(100, target / wall), cell.case)
        if wall >= target / 8 or wanted <= count or count == tidy(cell.case.most, cell.case):
            break
        count = wanted
    cell.count = wanted
    cell.seconds *= max(1, wanted / count)


def try_calibrate(cell: Cell, target: float) -> None:
    try:
        calibrate(cell, target)
    except NotInIt as none:
        cell.why = str(none)
    except Failed as failed:
        cell.fail("first", cell.count, str(failed))


def play_round(cell: Cell, number: int) -> None:
    try:
        cell.runs.append(Run(str(number), cell.count, run(cell, cell.count)))
    except (Failed, NotInIt) as failed:
        cell.fail(str(number), cell.count, str(failed))


def rounds_of(cell: Cell, rounds: int) -> int:
    return min(rounds, max(2, int(LONG / max(cell.seconds, 0.001))))


def play(cells: list[Cell], rounds: int, target: float, order: random.Random) -> None:
    """Every cell of a case, round by round."""
    for cell in cells:
        try_calibrate(cell, target)
    wanted = {id(cell): rounds_of(cell, rounds) for cell in cells}
    for number in range(1, rounds + 1):
        for cell in order.sample(cells, len(cells)):
            if not cell.why and number <= wanted[id(cell)]:
                play_round(cell, number)


#
# System calls
#

def perf(path: str) -> list[str]:
    return ["perf", "stat", "-x,", "-o", path, "-e", "raw_syscalls:sys_enter", "--"]


def perf_missing() -> str:
    """Why system calls cannot be counted, or nothing."""
    if shutil.which("perf") is None:
        return "perf is missing (Debian package linux-perf)"
    with tempfile.NamedTemporaryFile() as file:
        done = subprocess.run(perf(file.name) + ["true"], capture_output=True, text=True, check=False)
        if done.returncode == 0 and read_count(file.name) is not None:
            return ""
    return "perf cannot count them here (it takes root and the trace point raw_syscalls:sys_enter)"


def read_count(path: str) -> int | None:
    with open(path, encoding="utf-8") as file:
        found = re.search(r"^(\d+),", file.read(), re.MULTILINE)
    return int(found.group(1)) if found else None


def counted(cell: Cell, count: int) -> Run:
    with tempfile.NamedTemporaryFile() as file:
        result = run(cell, count, perf(file.name))
        return Run("counted", count, result, read_count(file.name))


def count_syscalls(cell: Cell) -> None:
    """A long run less a short one, so that the set-up does not count."""
    if cell.why or not cell.case.syscalls:
        return
    try:
        many = counted(cell, cell.count)
        few = counted(cell, max(cell.case.step, cell.count // 50))
    except (Failed, NotInIt) as failed:
        cell.runs.append(Run("counted", cell.count, {}, why=str(failed)))
        return
    cell.runs += [many, few]
    messages = many.result["messages"] - few.result["messages"]
    if many.syscalls is not None and few.syscalls is not None and messages > 0:
        cell.syscalls = max(0.0, (many.syscalls - few.syscalls) * 1000 / messages / cell.case.warm)
