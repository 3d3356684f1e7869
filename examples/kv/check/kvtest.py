# SPDX-License-Identifier: MIT
"""What the tests of kv with real clients share: servers, a client of the raw protocol, cases.

Each test is a program for `make check`: it prints "ok - CASE" or "not ok - CASE" and ends with 0, with 1 if a case failed, or with 77
if what it needs is not here. By hand: top_builddir=BUILD python3 examples/kv/check/test_NAME.py
UVCH_KV_RUN may hold a command to run the server with, say valgrind."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import traceback

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
PATIENCE = 120  # seconds until something that has to come counts as lost


class Failed(Exception):
    """Something that had to hold did not."""


def need(condition, text):
    if not condition:
        raise Failed(text)


def skip(why):
    print(why)
    sys.exit(77)


def scaled(count):
    """Rounds where UVCH_TEST_SCALE is not 1."""
    return max(1, int(count * float(os.environ.get("UVCH_TEST_SCALE", "1"))))


#
# Servers
#


class Server:
    """A server on a free port, with files in a directory of its own that goes with it unless one was given."""

    def __init__(self, command, executable=None, directory=None, preexec=None, listening=b"listening"):
        self.own = directory is None
        self.directory = directory or tempfile.mkdtemp(prefix="uvch-kv-")
        self.errors = open(os.path.join(self.directory, "stderr"), "a+b")
        self.process = subprocess.Popen(command, executable=executable, cwd=self.directory, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=self.errors, preexec_fn=preexec)
        self.said = b""
        for line in self.process.stdout:
            self.said += line
            if listening in line:
                break
        else:
            code = self.process.wait()
            raise Failed("the server ended with code %d: %s" % (code, self.complaints() or self.said))

    def complaints(self):
        """All that it wrote to standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def resident(self):
        """KiB of memory that it has."""
        with open("/proc/%d/status" % self.process.pid) as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1))

    def wait(self):
        """Its exit code."""
        code = self.process.wait(PATIENCE)
        self.process.stdout.close()
        return code

    def stop(self, number=signal.SIGINT):
        """Ask it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def clear(self):
        """Nothing of it is left, however it went."""
        if self.process.poll() is None:
            self.stop(signal.SIGKILL)
        self.errors.close()
        if self.own:
            shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.clear()


class Kv(Server):
    """kv with arguments as on its command line. Leaving a `with` asks it to end; it has to do so in order, and with code 0."""

    def __init__(self, *arguments, **how):
        run = os.environ.get("UVCH_KV_RUN", "").split()
        super().__init__(run + [os.path.join(BUILD, "examples/kv/kv"), "--port", "0", *map(str, arguments)], **how)
        self.port = int(re.search(rb" port (\d+),", self.said).group(1))

    def __exit__(self, kind, *why):
        try:
            if kind is None and self.process.poll() is None:
                code = self.stop()
                need(code == 0, "kv ended with code %d: %s" % (code, self.complaints()))
        finally:
            self.clear()


def redis_server():
    """The path of Debian's redis-server, or None: redis-tools has the same program under another name."""
    return shutil.which("redis-server") or shutil.which("redis-check-rdb")


class Redis(Server):
    """Debian's redis-server without a file, to compare with."""

    def __init__(self, *arguments, **how):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        super().__init__(["redis-server", "--port", str(self.port), "--save", "", "--appendonly", "no", *map(str, arguments)],
                         executable=redis_server(), listening=b"Ready to accept connections", **how)


#
# A client that sees bytes
#


def encoded(*words):
    """A command as clients send it."""
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Client:
    """A connection on which replies are seen as they come, to the byte."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.settimeout(PATIENCE)
        self.pending = b""

    def send(self, data):
        self.socket.sendall(data)

    def fill(self):
        """Some more bytes; False at the end."""
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            data = b""
        self.pending += data
        return data != b""

    def take(self, size):
        while len(self.pending) < size:
            need(self.fill(), "the connection ended in the middle of a reply: %r" % self.pending[:100])
        taken, self.pending = self.pending[:size], self.pending[size:]
        return taken

    def line(self):
        while b"\r\n" not in self.pending:
            need(self.fill(), "the connection ended in the middle of a reply: %r" % self.pending[:100])
        return self.take(self.pending.index(b"\r\n") + 2)

    def reply(self):
        """The next reply, all of its bytes."""
        head = self.line()
        kind, count = head[:1], head[1:-2]
        need(kind in b"+-:$*", "that is not the beginning of a reply: %r" % head)
        if kind == b"$" and int(count) >= 0:
            return head + self.take(int(count) + 2)
        if kind == b"*":
            return head + b"".join(self.reply() for _ in range(int(count)))
        return head

    def call(self, *words):
        """Send one command; its reply."""
        self.send(encoded(*words))
        return self.reply()

    def rest(self):
        """All that comes until the server closes the connection."""
        while self.fill():
            pass
        taken, self.pending = self.pending, b""
        return taken

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *why):
        self.close()


#
# Cases
#


def run(*cases):
    """Run functions as cases, named by their docstrings, and end the program. Words on the command line pick cases by their names."""
    os.environ["LC_ALL"] = "C"
    bad = 0
    for case in cases:
        if len(sys.argv) > 1 and not any(word in case.__name__ for word in sys.argv[1:]):
            continue
        try:
            case()
            print("ok - %s" % case.__doc__)
        except Exception as why:  # pylint: disable=broad-except
            bad += 1
            print("not ok - %s: %s" % (case.__doc__, why))
            if not isinstance(why, Failed):
                traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    sys.exit(1 if bad else 0)
