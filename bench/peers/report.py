# SPDX-License-Identifier: MIT
"""What the runs say: the tables, where uvch is behind, and the targets."""

from __future__ import annotations

import datetime
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from cases import CASES, GROUPS, P50, Case, Group
from runs import COLUMNS, Cell

KINDS = {
    "loop": "wakes an event loop",
    "thread": "wakes a blocked thread",
    "tasks": "tasks of a scheduler of its own",
    "polls": "wakes nobody",
}
WAKES = {"loop", "thread"}
OURS = "uvch"


@dataclass
class Results:
    cells: list[Cell]
    peers: dict  # by name
    about: list[str]  # machine and versions
    rounds: int
    no_syscalls: str  # why they are not counted

    def cell(self, case: str, peer: str) -> Cell | None:
        found = [cell for cell in self.cells if cell.case.id == case and cell.peer == peer and cell.values()]
        return found[0] if found else None

    def middle(self, case: str, peer: str) -> float | None:
        cell = self.cell(case, peer)
        return median(cell.values()) if cell else None

    def ranked(self, case: Case) -> list[Cell]:
        """Those with a number, the best first."""
        cells = [cell for cell in self.cells if cell.case is case and cell.values()]
        return sorted(cells, key=lambda cell: median(cell.values()), reverse=case.more_is_better)

    def cases(self) -> list[Case]:
        ran = {cell.case.id for cell in self.cells}
        return [case for case in CASES if case.id in ran]

    def groups(self) -> list[Group]:
        ran = {cell.case.id for cell in self.cells}
        groups = [Group(group.id, group.title, [case for case in group.cases if case.id in ran]) for group in GROUPS]
        return [group for group in groups if any(home(case) == group.id for case in group.cases)]


def home(case: Case) -> str:
    """The first group that a case is in. It has its table there."""
    return next(group.id for group in GROUPS if case in group.cases)


def better(case: Case, ours: float, theirs: float) -> float:
    """How many times as good as theirs ours is."""
    return ours / theirs if case.more_is_better else theirs / ours


#
# Text
#

def number(x: float) -> str:
    """Three digits that count."""
    if x == 0:
        return "0"
    digits = 2 if abs(x) >= 0.995 else 3
    text = f"{x:,.{max(0, digits - len(str(int(abs(x)))) + 1)}f}"
    return text if abs(x) >= 0.01 else f"{x:.2g}"


def spread(values: list[float]) -> str:
    return f"{number(min(values))} to {number(max(values))}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Markdown that can be read as text, too; the first column to the left, the others to the right."""
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    lines = [[text.ljust(widths[0]) if i == 0 else text.rjust(widths[i]) for i, text in enumerate(row)] for row in [head] + rows]
    lines.insert(1, ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def plural(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


#
# The machine
#

def output(*argv: str, cwd: Path | None = None) -> str:
    """What a command says, or nothing."""
    if shutil.which(argv[0]) is None:
        return ""
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False).stdout.strip()


def found(pattern: str, path: str) -> str:
    match = re.search(pattern, Path(path).read_text(encoding="utf-8"), re.MULTILINE)
    return match.group(1).strip() if match else "?"


def machine(top: Path) -> list[str]:
    virtual = ", virtual machine" if " hypervisor" in found(r"^flags(.*)", "/proc/cpuinfo") else ""
    memory = int(found(r"^MemTotal:\s*(\d+)", "/proc/meminfo")) / 1048576
    version = found(r"^AC_INIT\(\[[^]]*\],\s*\[([^]]*)", str(top / "configure.ac"))
    commit = output("git", "describe", "--always", "--dirty", cwd=top) or "not from git"
    model = found(r"^model name\s*:(.*)", "/proc/cpuinfo")
    system = found(r'^PRETTY_NAME="?([^"\n]*)', "/etc/os-release")
    kernel = os.uname()
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    return [
        f"uvch: {version}, {commit}; libuv {output('pkg-config', '--modversion', 'libuv')}",
        f"machine: {len(os.sched_getaffinity(0))} x {model}{virtual}, {memory:.0f} GiB",
        f"system: {system}, {kernel.sysname} {kernel.release} {kernel.machine}",
        f"run: {now}, load average before it {os.getloadavg()[0]:.2f}",
    ]


def versions(packages: list[list[str]]) -> list[str]:
    names = sorted({name for some in packages for name in some})
    lines = output("dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n", *names).splitlines()
    debian = sorted({line.split(maxsplit=1)[1] for line in lines if line.startswith("ii")})
    node = output("node", "--version")
    compilers = [output("cc", "--version"), output("c++", "--version"), output("/usr/bin/rustc", "--version"),
                 output("go", "version"), node and f"node {node}"]
    return ["compilers: " + "; ".join(text.splitlines()[0] for text in compilers if text),
            "packages: " + ", ".join(debian)]


#
# Tables
#

def row(results: Results, case: Case, cell: Cell) -> list[str]:
    ours = results.middle(case.id, OURS)
    middle = median(cell.values())
    mark = "**" if cell.peer == OURS else ""
    kind = results.peers[cell.peer].kind_in(case)
    columns = [f"{mark}{cell.peer}{mark}", kind, f"{mark}{number(middle)}{mark}", spread(cell.values()),
               "-" if ours is None or cell.peer == OURS else f"{number(better(case, ours, middle))}x", number(median(cell.cpu()))]
    if case.syscalls:
        columns.append("-" if cell.syscalls is None else number(cell.syscalls))
    if case.measure == P50:
        columns.append(number(median(cell.column("p99_ns")) / 1e3))
    if case.name == "idle":
        columns.append(number(median(cell.column("bytes"))) if cell.column("bytes") else "-")
    if case.id == "watch-send":
        columns.append(seen(cell))
    return columns


def seen(cell: Cell) -> str:
    parts = [100 * found / n for found, n in zip(cell.column("found"), cell.column("messages"))]
    return f"{number(median(parts))} %" if parts else "-"


def heads(case: Case) -> list[str]:
    head = ["peer", "kind", f"median, {case.unit}", "min to max", "uvch's ratio", "CPU ns/message"]
    head += ["system calls/1,000"] if case.syscalls else []
    head += ["p99, us"] if case.measure == P50 else []
    head += ["bytes/channel"] if case.name == "idle" else []
    return head + (["values seen"] if case.id == "watch-send" else [])


def without(results: Results, case: Case) -> str:
    """Those that have no number, and why."""
    cells = [cell for cell in results.cells if cell.case is case and not cell.values() and not cell.absent]
    failed = [f"- **{cell.peer} has no number**: {cell.why}" for cell in cells if cell.failed]
    reasons: dict[str, list[str]] = {}
    for cell in cells:
        if not cell.failed:
            reasons.setdefault(cell.why, []).append(cell.peer)
    none = "; ".join(f"{', '.join(peers)}: {why}" for why, peers in reasons.items())
    lines = failed + ([f"- not in it: {none}"] if none else [])
    return "\n".join(lines) + "\n" if lines else ""


def case_table(results: Results, case: Case) -> str:
    wish = "more" if case.more_is_better else "less"
    rows = [row(results, case, cell) for cell in results.ranked(case)]
    text = f"### {case.title[0].upper()}{case.title[1:]} ({case.unit}, {wish} is better)\n\n"
    if rows:
        text += table(heads(case), rows)
    return "\n".join(part for part in (text.rstrip("\n") + "\n", without(results, case)) if part)


def group_tables(results: Results, group: Group, plots: bool) -> str:
    parts = [f"## {group.title}\n"] + ([f"![{group.title}](plots/{group.id}.svg)\n"] if plots else [])
    for case in group.cases:
        first = next((other for other in results.groups() if other.id == home(case)), group)
        if first.id == group.id:
            parts.append(case_table(results, case))
        else:
            parts.append(f"### {case.title[0].upper()}{case.title[1:]}\n\nSee \"{first.title}\".\n")
    return "\n".join(parts)


#
# Behind
#

def overlap(a: list[float], b: list[float]) -> bool:
    return min(a) <= max(b) and min(b) <= max(a)


def ahead(results: Results, kinds: set[str]) -> list[list[str]]:
    """The peers of these kinds that have a better median than uvch."""
    rows = []
    for case in results.cases():
        ours = results.cell(case.id, OURS)
        if ours is None:
            continue
        for cell in results.ranked(case):
            peer = results.peers[cell.peer]
            middle = median(cell.values())
            times = better(case, median(ours.values()), middle)
            kind = peer.kind_in(case)
            if times < 1 and kind in kinds and not peer.ours:
                rows.append([case.id, cell.peer, kind, number(median(ours.values())), number(middle), case.unit,
                             f"{number(times)}x", "yes" if overlap(ours.values(), cell.values()) else "no"])
    return rows


def behind(results: Results) -> str:
    head = ["case", "peer", "kind", "uvch", "peer", "unit", "uvch's ratio", "ranges overlap"]
    ran = [case for case in results.cases() if results.cell(case.id, OURS)]
    absent = [case.id for case in results.cases() if case not in ran]
    rows = ahead(results, WAKES)
    worse = len({line[0] for line in rows})
    parts = [f"In {worse} of {plural(len(ran), 'case')} a peer that can wake an event loop or a blocked thread has a better "
             "median.\n"]
    parts += [f"uvch has no number in: {', '.join(absent)}.\n"] if absent else []
    parts += [table(head, rows)] if rows else []
    others = ahead(results, set(KINDS) - WAKES)
    if others:
        parts += ["Better medians of peers that are the goal, not the bar: tasks of a scheduler of their own, and queues that "
                  "wake nobody.\n", table(head, others)]
    return "\n".join(parts)


#
# Targets
#

def best(results: Results, case: Case, peers: list[str]) -> tuple[str, float] | None:
    numbers = [(peer, middle) for peer in peers if (middle := results.middle(case.id, peer)) is not None]
    return (max if case.more_is_better else min)(numbers, key=lambda pair: pair[1], default=None)


def against(results: Results, cases: list[str], peers: list[str], least: float, us: str = OURS) -> list[list[str]]:
    """One line for each case: `us` at least so many times as good as the best of these peers."""
    lines = []
    for case in [case for case in results.cases() if case.id in cases]:
        ours, theirs = results.middle(case.id, us), best(results, case, peers)
        if ours is None or theirs is None:
            lines.append([f"{case.id}: {us} >= {least:.3g}x of {' or '.join(peers)}", "-", "no number"])
            continue
        times = better(case, ours, theirs[1])
        verdict = "met" if times >= least else "NOT MET"
        lines.append([f"{case.id}: {us} >= {least:.3g}x of {theirs[0]}", f"{number(times)}x", verdict])
    return lines


def at_most(results: Results, case: str, limit: float, unit: str) -> list[list[str]]:
    if case not in [ran.id for ran in results.cases()]:
        return []
    ours = results.middle(case, OURS)
    verdict = "no number" if ours is None else "met" if ours <= limit else "NOT MET"
    return [[f"{case}: at most {limit:g} {unit}", "-" if ours is None else f"{number(ours)} {unit}", verdict]]


def few_syscalls(results: Results) -> list[list[str]]:
    lines = []
    for case in [case for group in results.groups() if group.id in ("stream", "fan-in") for case in group.cases]:
        cell = results.cell(case.id, OURS)
        count = cell.syscalls if cell else None
        verdict = "no number" if count is None else "met" if count <= 1 else "NOT MET"
        lines.append([f"{case.id}: at most 1 system call per 1,000", "-" if count is None else number(count), verdict])
    return lines


def targets(results: Results) -> list[list[str]]:
    flows = [case.id for group in GROUPS if group.id in ("stream", "fan-in") for case in group.cases]
    both = [case.id for case in results.cases() if results.middle(case.id, "uvch-off") is not None]
    lines = against(results, flows, ["tokio", "tokio-mt"], 3)
    lines += at_most(results, "pingpong-threads", 1, "us")
    lines += against(results, ["pingpong-threads"], ["bare"], 1 / 1.1, us="uvch-off")
    lines += at_most(results, "pingpong-one", 100, "ns")
    lines += against(results, both, ["uvch-off"], 0.9)
    lines += against(results, ["stream-64"], ["go"], 1)
    lines += against(results, ["fan-in-4-64", "fan-in-8-64"], ["go"], 0.6)
    return lines + few_syscalls(results)


def target_tables(results: Results) -> str:
    lines = targets(results)
    met = [line for line in lines if line[2] == "met"]
    if not lines:
        return "None is about these cases.\n"
    return f"{len(met)} of {plural(len(lines), 'target')} met.\n\n" + table(["target", "measured", ""], lines)


#
# The files
#

def markdown(results: Results, no_plots: str) -> str:
    absent = dict.fromkeys(f"{cell.peer} ({cell.why})" for cell in results.cells if cell.absent)
    parts = ["# uvch and its peers\n",
             "Written by `bench/run --write`; [README.md](README.md) says how to read it. Every single run is in "
             "[PEERS.tsv](PEERS.tsv).\n",
             "\n".join(f"- {line}" for line in results.about) + f"\n- rounds: {results.rounds}\n"]
    for lead, names in (("Missing", absent), ("No system calls", [results.no_syscalls]), ("No plots", [no_plots])):
        if any(names):
            parts.append(f"**{lead}**: {'; '.join(names)}.\n")
    if OURS in results.peers:
        parts += ["## Where uvch is behind\n", behind(results), "## Targets\n", target_tables(results)]
    parts += [group_tables(results, group, not no_plots) for group in results.groups()]
    return "\n".join(parts)


def tsv(cells: list[Cell]) -> str:
    keys = ["place", "where", "op", "capacity", "size", "producers", "receivers", "outstanding", "channels"]
    lines = ["\t".join(["case", "peer", "round", *keys, "pinned", "busy", "asked", *COLUMNS, "syscalls", "why"])]
    for cell in cells:
        case = cell.case
        setup = [str({**case.args, "place": case.place}.get(key, "")) for key in keys]
        setup += [str(int(case.pinned)), str(int(case.busy))]
        for run in cell.runs:
            lines.append("\t".join([case.id, cell.peer, run.round, *setup, str(run.count),
                                    *(str(run.result.get(key, "")) for key in COLUMNS),
                                    "" if run.syscalls is None else str(run.syscalls), run.why]))
        if not cell.runs:
            lines.append("\t".join([case.id, cell.peer, "none", *setup, "", *("" for _ in COLUMNS), "", cell.why]))
    return "\n".join(lines) + "\n"
