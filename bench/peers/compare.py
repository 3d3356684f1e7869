#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Builds the peers whose packages are there, runs them in turn, and writes the tables and plots."""

from __future__ import annotations

import argparse
import os
import random
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import report
import runs
from cases import CASES, GROUPS, Case

HERE = Path(__file__).resolve().parent
TOP = HERE.parent.parent
ME = "bench/peers/compare.py"
SEED = 8
TARGET, QUICK = 0.18, 0.04  # seconds for a run
UNBUILT = "it does not build"
C = ["gcc", "libc6-dev"]
CARGO = ["cargo", "rustc", "librust-libc-dev"]
TASKS = ["librust-async-executor-dev", "librust-futures-lite-dev"]

#
# The peers
#


@dataclass(frozen=True)
class Program:
    packages: list[str]  # Debian's
    there: str  # a shell command that tells whether they are
    build: str  # a shell command; $build is the build directory, $out the directory of programs, $here this one
    command: str  # how to start it


@dataclass(frozen=True)
class Peer:
    name: str
    program: str
    kind: str  # a key of report.KINDS
    ours: bool = False
    idle_kind: str = ""  # in `idle`, if it is another one there

    def kind_in(self, case: Case) -> str:
        return self.idle_kind if self.idle_kind and case.name == "idle" else self.kind


def c_program(name: str, packages: list[str], there: str, flags: str) -> Program:
    return Program(C + packages, there, f"${{CC:-cc}} -O2 -DNDEBUG -pthread -I$here $here/{name}.c $here/threads.c $here/peer.c "
                   f"-o $out/{name} {flags}", f"$out/{name}")


def pkg_program(name: str, package: str, pkg: str) -> Program:
    return c_program(name, [package, "pkg-config"], f"pkg-config --exists {pkg}", f"$(pkg-config --cflags --libs {pkg})")


def made_program(name: str) -> Program:
    return Program(C + ["make", "libuv1-dev"], "pkg-config --exists libuv", f"make -s -C $build bench/peers/{name}",
                   f"$out/{name}")


def rust_program(name: str, packages: list[str]) -> Program:
    crates = " ".join(f"{package.removeprefix('librust-').removesuffix('-dev')}-[0-9]*" for package in packages)
    look = f" && cd /usr/share/cargo/registry && ls -d {crates}" if crates else ""
    return Program(CARGO + packages, f"test -x /usr/bin/cargo{look}", f"PATH=/usr/bin:$PATH $here/rust/build {name} $out",
                   f"$out/rust-{name}")


PROGRAMS = {
    "uvch": made_program("uvch"),
    "byhand": made_program("byhand"),
    "glib": pkg_program("glib", "libglib2.0-dev", "glib-2.0"),
    "nng": c_program("nng", ["libnng-dev"], "test -e /usr/include/nng/nng.h", "-lnng"),
    "zmq": pkg_program("zmq", "libzmq3-dev", "libzmq"),
    "ck": pkg_program("ck", "libck-dev", "ck"),
    "moodycamel": Program(
        C + ["g++", "libconcurrentqueue-dev"], "test -e /usr/include/concurrentqueue/concurrentqueue.h",
        "cd $out && ${CC:-cc} -O2 -DNDEBUG -c $here/peer.c $here/threads.c && ${CXX:-c++} -O2 -DNDEBUG -std=c++17 -pthread "
        "-I$here $here/moodycamel.cc peer.o threads.o -latomic -o moodycamel", "$out/moodycamel"),
    "tokio": rust_program("tokio", ["librust-tokio-dev"]),
    "crossbeam": rust_program("crossbeam", ["librust-crossbeam-channel-dev"]),
    "flume": rust_program("flume", ["librust-flume-dev", *TASKS]),
    "async-channel": rust_program("async-channel", ["librust-async-channel-dev", *TASKS]),
    "std": rust_program("std", []),
    "go": Program(["golang-go"], "command -v go",
                  "cd $here/go && GO111MODULE=off GOTOOLCHAIN=local GOCACHE=$out/go-cache go build -o $out/go", "$out/go"),
    "node": Program(["nodejs"], "command -v node", "node --check $here/node.mjs", "node $here/node.mjs"),
}

PEERS = [
    Peer("uvch", "uvch", "loop", ours=True),
    Peer("uvch-off", "uvch", "loop", ours=True),
    Peer("uvch-thread", "uvch", "thread", ours=True),
    Peer("bare", "byhand", "loop"),
    Peer("list", "byhand", "loop"),
    Peer("ring", "byhand", "loop"),
    Peer("glib", "glib", "thread"),
    Peer("nng", "nng", "thread"),
    Peer("zeromq", "zmq", "thread"),
    Peer("ck_ring", "ck", "polls"),
    Peer("ck_fifo", "ck", "polls"),
    Peer("moodycamel", "moodycamel", "polls"),
    Peer("moodycamel-blocking", "moodycamel", "thread"),
    Peer("tokio", "tokio", "loop"),
    Peer("tokio-mt", "tokio", "tasks", idle_kind="loop"),
    Peer("crossbeam", "crossbeam", "thread"),
    Peer("flume", "flume", "thread"),
    Peer("async-channel", "async-channel", "thread"),
    Peer("std", "std", "thread"),
    Peer("go", "go", "tasks"),
    Peer("go-threads", "go", "thread", idle_kind="tasks"),
    Peer("node", "node", "loop"),
]

#
# Packages and builds
#


def say(text: str) -> None:
    print(f"{ME}: {text}", file=sys.stderr, flush=True)


def shell(command: str, build: Path) -> subprocess.CompletedProcess:
    places = {"build": str(build), "out": str(build / "bench/peers"), "here": str(HERE)}
    return subprocess.run(["bash", "-c", command], env=os.environ | places, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, check=False)


def is_there(program: Program) -> bool:
    return shell(program.there, Path()).returncode == 0


def install(programs: list[Program]) -> None:
    """What is missing of their packages, as tools/setup.sh does it for the other commands."""
    packages = sorted({package for program in programs if not is_there(program) for package in program.packages})
    if not has_matplotlib():
        packages.append("python3-matplotlib")
    script = """me=$1; shift; wanted_here=("$@"); source tools/setup.sh
        has() { dpkg-query -W -f '${Status}' "$1" | grep -q '^install ok installed$'; }
        packages_of_peers() { local p; for p in "${wanted_here[@]}"; do want "$p" has "$p"; done; }
        install_packages packages_of_peers"""
    subprocess.run(["bash", "-euc", script, "bash", ME, *packages], cwd=TOP, stdin=subprocess.DEVNULL, stdout=sys.stderr,
                   check=False)


def has_matplotlib() -> bool:
    return subprocess.run([sys.executable, "-c", "import matplotlib"], capture_output=True, check=False).returncode == 0


def build_all(names: set[str], build: Path) -> dict[str, str]:
    """Build these programs. Returns why others cannot run."""
    (build / "bench/peers").mkdir(parents=True, exist_ok=True)
    why = {}
    for name in [name for name in PROGRAMS if name in names]:
        program = PROGRAMS[name]
        if not is_there(program):
            why[name] = f"needs these Debian packages: {' '.join(program.packages)}"
            continue
        say(f"building {name}")
        done = shell(program.build, build)
        if done.returncode != 0:
            print("\n".join((done.stdout + done.stderr).splitlines()[-20:]), file=sys.stderr)
            why[name] = UNBUILT
    for name, text in why.items():
        say(f"{name}: {text}")
    return why


#
# Options
#


class Parser(argparse.ArgumentParser):
    def error(self, message: str):
        print(f"{ME}: {message} (see {ME} --help)", file=sys.stderr)
        sys.exit(2)


def options(argv: list[str]) -> argparse.Namespace:
    parser = Parser(prog=ME, allow_abbrev=False, description=__doc__)
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of every case, 1 to 99 (5)")
    parser.add_argument("--quick", action="store_true", help="2 rounds of a fifth of the messages")
    parser.add_argument("--only", metavar="CASE", help="one case, or one group of them")
    parser.add_argument("--peers", metavar="A,B,C", help="these peers only")
    parser.add_argument("--list", action="store_true", help="the groups, cases and peers")
    parser.add_argument("--write", action="store_true",
                        help="a full run into bench/PEERS.md, bench/PEERS.tsv and bench/plots (else bench/peers/out in the build "
                        "directory)")
    parser.add_argument("--install", action="store_true", help="install what is missing (Debian, apt-get)")
    parser.add_argument("--no-build", action="store_true", help="run the programs as they are")
    parser.add_argument("--build-dir", metavar="DIR", type=Path, default=TOP / "build-bench",
                        help="where uvch is configured (build-bench)")
    args = parser.parse_args(argv)
    for bad in wrong(args):
        parser.error(bad)
    args.build_dir = args.build_dir.resolve()
    args.rounds = args.rounds or (2 if args.quick else 5)
    return args


def wrong(args: argparse.Namespace):
    if args.rounds is not None and not 1 <= args.rounds <= 99:
        yield f"--rounds is 1 to 99, not {args.rounds}"
    if args.only is not None and not chosen_cases(args.only):
        yield f"no case or group {args.only}"
    names = [peer.name for peer in PEERS]
    yield from (f"no peer {name}" for name in (args.peers or names[0]).split(",") if name not in names)
    part = [name for name, given in (("--quick", args.quick), ("--only", args.only), ("--peers", args.peers)) if given]
    if args.write and part:
        yield f"--write does not go with {part[0]}"
    if not args.list and not (args.build_dir / "Makefile").exists() and not args.no_build:
        yield f"{args.build_dir} is not configured; start bench/run --peers"


def chosen_cases(only: str | None) -> list[Case]:
    if only is None:
        return CASES
    return next((group.cases for group in GROUPS if group.id == only), [case for case in CASES if case.id == only])


def list_all() -> None:
    for group in GROUPS:
        print(f"{group.id}: {group.title}")
        for case in group.cases:
            print(f"  {case.id:22} {case.title}, {case.unit}")
    print("peers")
    for peer in PEERS:
        program = PROGRAMS[peer.program]
        there = "" if is_there(program) else f"; missing: {' '.join(program.packages)}"
        print(f"  {peer.name:22} {report.KINDS[peer.kind]}{there}")


#
# All of it
#


def make_cells(cases: list[Case], peers: list[Peer], why: dict[str, str], build: Path) -> list[runs.Cell]:
    places = {"out": shlex.quote(str(build / "bench/peers")), "here": shlex.quote(str(HERE))}
    cells = []
    for case in cases:
        for peer in peers:
            line = PROGRAMS[peer.program].command
            for name, path in places.items():
                line = line.replace(f"${name}", path)
            cells.append(runs.Cell(case, peer.name, shlex.split(line), why=why.get(peer.program, ""),
                                   absent=peer.program in why))
    return cells


def run_all(cells: list[runs.Cell], rounds: int, target: float, count_syscalls: bool) -> None:
    order = random.Random(SEED)
    cases = list(dict.fromkeys(cell.case.id for cell in cells))
    start = time.monotonic()
    # Not every peer has every case. Each run has a warm-up and a set-up.
    guess = len([cell for cell in cells if not cell.why]) * 0.7 * (rounds * (target * 1.2 + 0.05) + target * 2 + 0.1)
    say(f"{report.plural(len(cases), 'case')}, {report.plural(rounds, 'round')}; about {guess / 60:.0f} minutes")
    for i, name in enumerate(cases):
        here = [cell for cell in cells if cell.case.id == name]
        runs.play([cell for cell in here if not cell.why], rounds, target, order)
        for cell in here if count_syscalls else []:
            runs.count_syscalls(cell)
        for cell in here:
            if cell.failed:
                say(f"{name}: {cell.peer}: {cell.why}")
        minutes = (time.monotonic() - start) / 60
        peers = sum(bool(cell.values()) for cell in here)
        say(f"{name}: {peers} peers; {i + 1} of {len(cases)} cases after {minutes:.1f} minutes")


def write_all(results: report.Results, cells: list[runs.Cell], place: Path) -> None:
    """First beside, then each in its place."""
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place, prefix=".new-") as new:
        beside = Path(new)
        (beside / "PEERS.tsv").write_text(report.tsv(cells), encoding="utf-8")
        no_plots = ""
        if has_matplotlib():
            import plots

            plots.draw(results, beside / "plots")
        else:
            no_plots = "matplotlib is missing (Debian package python3-matplotlib)"
            say(f"no plots: {no_plots}")
        text = report.markdown(results, no_plots)
        (beside / "PEERS.md").write_text(text, encoding="utf-8")
        (place / "plots").mkdir(exist_ok=True)
        for file in [*beside.glob("PEERS.*"), *beside.glob("plots/*")]:
            file.replace(place / file.relative_to(beside))
    print(text)
    say(f"{place}/PEERS.md, PEERS.tsv and plots are written")


def interrupted(number, frame):
    raise KeyboardInterrupt


def main() -> int:
    args = options(sys.argv[1:])
    if args.list:
        list_all()
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    # Some peers take a descriptor or more for each channel.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    peers = [peer for peer in PEERS if args.peers is None or peer.name in args.peers.split(",")]
    programs = {peer.program for peer in peers}
    if args.install:
        install([PROGRAMS[name] for name in programs])
    machine = report.machine(TOP)
    why = {} if args.no_build else build_all(programs, args.build_dir)
    cells = make_cells(chosen_cases(args.only), peers, why, args.build_dir)
    no_syscalls = runs.perf_missing()
    run_all(cells, args.rounds, QUICK if args.quick else TARGET, not no_syscalls)
    versions = report.versions([PROGRAMS[name].packages for name in PROGRAMS if name in programs and name not in why])
    results = report.Results(cells, {peer.name: peer for peer in peers}, machine + versions, args.rounds, no_syscalls)
    write_all(results, cells, TOP / "bench" if args.write else args.build_dir / "bench/peers/out")
    return 1 if any(cell.failed for cell in cells) or UNBUILT in why.values() else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        say("stopped; nothing was written")
        sys.exit(130)
