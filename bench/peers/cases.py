# SPDX-License-Identifier: MIT
"""The cases that compare.py runs, and the groups that the report shows them in."""

from __future__ import annotations

from dataclasses import dataclass, field

# How a case is judged. RATE: million messages per second. P50: median of the single times, in microseconds.
# EACH: time by message, in nanoseconds. MEAN: the same in microseconds.
RATE, P50, EACH, MEAN = "rate", "p50", "each", "mean"

UNITS = {RATE: "M/s", P50: "us", EACH: "ns", MEAN: "us"}


@dataclass(frozen=True)
class Case:
    id: str
    title: str
    name: str  # what the program is told
    measure: str
    least: int  # messages of the first run, and at least
    most: int
    args: dict = field(default_factory=dict)
    place: str = "split"
    pinned: bool = False  # the whole process on one processor
    busy: bool = False  # beside as many busy processes as there are processors
    syscalls: bool = False  # counted in a run of their own
    warm: float = 1.0  # messages that go through, warm-up and all, for each measured one
    step: int = 1  # counts are multiples of it; a program may round up to the next

    @property
    def unit(self) -> str:
        return UNITS[self.measure]

    @property
    def more_is_better(self) -> bool:
        return self.measure == RATE


@dataclass(frozen=True)
class Group:
    id: str
    title: str
    cases: list[Case]


def bound(capacity: int) -> str:
    return f"capacity {capacity:,}" if capacity else "unbounded"


def label(capacity: int) -> str:
    return str(capacity) if capacity else "unbounded"


def stream(capacity: int, producers: int = 1, size: int = 8, id: str = "", **more) -> Case:
    title = bound(capacity)
    if producers > 1:
        title = f"{producers} producers, {title}"
    if size != 8:
        title = f"{size:,} bytes, {title}"
    name = f"fan-in-{producers}-{label(capacity)}" if producers > 1 else f"stream-{label(capacity)}"
    args = {"capacity": capacity, "size": size, "producers": producers}
    return Case(id or name, more.pop("title", title), "stream", RATE, 20_000, 20_000_000 // (size // 8), args, warm=1.2,
                **more)


def pingpong(where: str = "threads", measure: str = P50, **more) -> Case:
    hops = where == "one"
    return Case(more.pop("id", f"pingpong-{where}"), more.pop("title", "same loop or thread, a hop" if hops else
                "two loops or threads, a round trip"), "pingpong", EACH if hops else measure, 100, 5_000_000,
                {"where": where}, warm=1.1, step=2 if hops else 1, **more)


def request(outstanding: int, **more) -> Case:
    measure = P50 if outstanding == 1 else RATE
    return Case(more.pop("id", f"request-{outstanding}"), more.pop("title", f"{outstanding} outstanding"), "request",
                measure, 500, 5_000_000, {"outstanding": outstanding}, warm=1.1, **more)


def broadcast(receivers: int) -> Case:
    return Case(f"broadcast-{receivers}", f"{receivers:,} receiver{'s' * (receivers > 1)}, deliveries", "broadcast", RATE,
                20 * max(receivers, 1000), 50_000_000, {"receivers": receivers, "capacity": 1024}, syscalls=True, warm=1.2,
                step=receivers)


def idle(channels: int) -> Case:
    return Case(f"idle-{channels}", f"{channels:,} channel{'s' * (channels > 1)}", "idle", P50, 200, 2_000,
                {"channels": channels})


def pair(capacity: int) -> Case:
    return Case(f"pair-{label(capacity)}", bound(capacity), "pair", EACH, 20_000, 50_000_000,
                {"capacity": capacity, "size": 8}, place="")


def on_one(case_of, *args, title: str, id: str, **more) -> Case:
    return case_of(*args, id=f"one-{id}", title=title, place="free", pinned=True, syscalls=True, **more)


STREAMS = [stream(capacity, syscalls=True) for capacity in (64, 1024, 0)]
FAN_IN = [stream(capacity, n, syscalls=True) for capacity in (0, 1024) for n in (2, 4, 8)]
FAN_IN += [stream(64, n, syscalls=True) for n in (4, 8)]

GROUPS = [
    Group("stream", "One producer to one receiver", STREAMS),
    Group("fan-in", "Several producers to one receiver", FAN_IN),
    Group("pingpong", "A message there and back", [pingpong("threads", syscalls=True), pingpong("one")]),
    Group("request", "Requests and replies", [request(n, syscalls=True) for n in (1, 64)]),
    Group("broadcast", "One sender, every receiver gets every message", [broadcast(n) for n in (1, 4, 16, 1000)]),
    Group("watch", "A value that changes", [
        Case("watch-send", "changes, with a receiver that follows", "watch", RATE, 20_000, 50_000_000, {"op": "send"},
             syscalls=True, warm=1.2),
        Case("watch-read", "a look at a value that stays", "watch", EACH, 20_000, 100_000_000, {"op": "read"}),
    ]),
    Group("idle", "A message to one of many idle channels", [idle(n) for n in (1, 1_000, 10_000, 100_000)]),
    Group("pair", "Send and receive on one thread", [pair(1024), pair(0)]),
    Group("size", "Messages of other sizes", [
        STREAMS[1], *(stream(1024, size=n, id=f"size-{n}") for n in (64, 256, 1024, 4096)),
    ]),
    Group("busy", "With two runnable threads more than processors", [
        stream(1024, id="busy-stream", busy=True, title="stream, capacity 1,024"),
        pingpong(measure=MEAN, id="busy-pingpong", busy=True, title="a round trip between threads, mean"),
    ]),
    Group("one", "Everything on one processor", [
        *(on_one(stream, capacity, title=f"stream, {bound(capacity)}", id=f"stream-{label(capacity)}")
          for capacity in (64, 1024, 0)),
        on_one(stream, 0, 4, title="4 producers, unbounded", id="fan-in-4"),
        on_one(pingpong, title="a round trip between threads", id="pingpong"),
        on_one(request, 64, title="requests, 64 outstanding", id="request-64"),
    ]),
    Group("place", "Threads placed by the kernel, and on processors of their own", [
        STREAMS[1], stream(1024, id="free-stream-1024", place="free", title="capacity 1,024, placed by the kernel"),
        STREAMS[2], stream(0, id="free-stream-unbounded", place="free", title="unbounded, placed by the kernel"),
        FAN_IN[1], stream(0, 4, id="free-fan-in-4", place="free", title="4 producers, unbounded, placed by the kernel"),
    ]),
]

CASES = list({case.id: case for group in GROUPS for case in group.cases}.values())
