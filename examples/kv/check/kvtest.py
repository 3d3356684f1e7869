# SPDX-License-Identifier: MIT
"""What the tests of kv with real clients share: servers, a client of the raw protocol, cases.

Each test is a program for `make check`: it prints "ok - CASE" or "not ok - CASE" and ends with 0, with 1 if a case failed, or with 77
if what it needs is not here. By hand: top_builddir=BUILD python3 examples/kv/check/test_NAME.py
UVCH_KV_RUN may hold a command to run the server with, say valgrind."""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback

BUILD = os.path.abspath(os.environ.get("top_builddir", "."))
PATIENCE = 120  # seconds until something that has to come counts as lost


class Failed(Exception):
    """Something that had to hold did not."""


class Skipped(Exception):
    """What a case needs is not here."""


def need(condition, text):
    if not condition:
        raise Failed(text)


def skip(why):
    print(why)
    sys.exit(77)


def skip_case(why):
    """Leave this case; the others go on."""
    raise Skipped(why)


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
        self.errors_begin = self.errors.seek(0, os.SEEK_END)  # another server may have been here before
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
        self.errors.seek(self.errors_begin)
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

    def kill(self):
        """As a crash: it gets to do nothing any more."""
        need(self.stop(signal.SIGKILL) == -signal.SIGKILL, "kv had ended before it was killed: %s" % self.complaints())

    def __exit__(self, kind, *why):
        try:
            if kind is None and self.process.poll() is None:
                code = self.stop()
                need(code == 0, "kv ended with code %d: %s" % (code, self.complaints()))
            if kind is None:
                need("Sanitizer" not in self.complaints(), self.complaints())
        finally:
            self.clear()


def kv_fails(*arguments, **how):
    """A start of kv that has to fail. Its exit code, and what it wrote to standard error."""
    how = {"cwd": "/", "stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, **how}
    run = os.environ.get("UVCH_KV_RUN", "").split()
    done = subprocess.run(run + [os.path.join(BUILD, "examples/kv/kv"), *map(str, arguments)], timeout=PATIENCE, check=False, **how)
    errors = (done.stderr or b"").decode(errors="replace")
    need("Sanitizer" not in errors, errors)
    return done.returncode, errors


def kv_is_checked():
    """Whether kv runs with a sanitizer or under another program: then its memory is not its own."""
    if os.environ.get("UVCH_KV_RUN"):
        return True
    for name in (".libs/kv", "kv"):
        path = os.path.join(BUILD, "examples/kv", name)
        if os.path.exists(path):
            with open(path, "rb") as program:
                return re.search(rb"__[at]san_init", program.read()) is not None
    return False


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
# Writers that know what they were told
#


class Writer(threading.Thread):
    """A client that changes keys of its own and pipelines. For each key it has all values that there were in order, as far as they
    were sent, None for a key that there is not, and which of them the server has acknowledged."""

    def __init__(self, load, name):
        super().__init__(daemon=True)
        self.load = load
        self.random = random.Random("%s %s" % (load.seed, name))
        self.keys = [b"%s:%d" % (name, i) for i in range(20)]
        self.values = {key: [None] for key in self.keys}
        self.acknowledged = dict.fromkeys(self.keys, 0)
        self.client = None
        self.awaited = []
        self.why = None

    def change(self):
        """Some command, with what it answers."""
        key = self.random.choice(self.keys)
        now = self.values[key][-1]
        what = self.random.randrange(8)
        number = now is not None and now.isdigit() and len(now) < 10 and now == b"%d" % int(now)
        if what == 0:
            words, new, reply = (b"DEL", key), None, b":%d\r\n" % (now is not None)
        elif what < 3 and number:
            words, new = (b"INCR", key), b"%d" % (int(now) + 1)
            reply = b":%s\r\n" % new
        elif what < 5 and now is not None and len(now) < 500:
            piece = b"%x" % self.random.getrandbits(32)
            words, new = (b"APPEND", key, piece), now + piece
            reply = b":%d\r\n" % len(new)
        else:
            new = b"%d" % self.random.randrange(1000) if what < 7 else self.random.randbytes(self.random.randrange(300))
            words, reply = (b"SET", key, new), b"+OK\r\n"
        self.values[key].append(new)
        self.awaited.append((key, len(self.values[key]) - 1, reply))
        return encoded(*words)

    def hear(self, count):
        """The next replies."""
        for _ in range(count):
            key, index, reply = self.awaited[0]
            got = self.client.reply()
            need(got == reply, "%r was answered %r and not %r" % (key, got, reply))
            del self.awaited[0]
            self.acknowledged[key] = index
        self.load.advance(count)

    def work(self):
        try:
            while not self.load.ends:
                count = self.random.choice((1, 1, 4, 16, 50))
                self.client.send(b"".join([self.change() for _ in range(count)]))
                if len(self.awaited) > self.random.choice((0, 50, 200)):
                    self.hear(len(self.awaited) - self.random.randrange(len(self.awaited)))
        except (BrokenPipeError, ConnectionResetError):
            pass  # what has come is still to be read
        self.hear(len(self.awaited))

    def run(self):
        try:
            with self.client:
                self.work()
        except Failed as why:
            if "connection ended" not in str(why):
                self.why = why
        except Exception:  # pylint: disable=broad-except
            self.why = traceback.format_exc()
        self.load.advance(0)


class Load:
    """Several writers."""

    def __init__(self, writers, seed=None):
        self.seed = random.randrange(10**9) if seed is None else seed
        self.random = random.Random(self.seed)
        self.changed = threading.Condition()
        self.count = 0  # of acknowledged changes
        self.ends = False
        self.writers = [Writer(self, b"w%d" % i) for i in range(writers)]

    def advance(self, count):
        with self.changed:
            self.count += count
            self.changed.notify_all()

    def start(self, port):
        self.ends = False
        for i, writer in enumerate(self.writers):
            again = Writer(self, b"w%d" % i)
            again.random, again.values, again.acknowledged = writer.random, writer.values, writer.acknowledged
            again.client = Client(port)
            self.writers[i] = again
            again.start()

    def wait_for(self, more):
        """Until so many more changes have been acknowledged."""
        with self.changed:
            goal = self.count + more
            there = self.changed.wait_for(lambda: self.count >= goal or not any(w.is_alive() for w in self.writers), PATIENCE)
            count = self.count
        self.look()
        need(there and count >= goal, "the writers came to an end, or stand still, at %d of %d (seed %d)" % (count, goal, self.seed))

    def look(self):
        for writer in self.writers:
            need(writer.why is None, "%s (seed %d)" % (writer.why, self.seed))

    def finish(self):
        """Until they have heard all that they will. Returns how many commands were not answered."""
        self.ends = True
        for writer in self.writers:
            writer.join(PATIENCE)
            need(not writer.is_alive(), "a writer waits for ever (seed %d)" % self.seed)
        self.look()
        return sum(len(writer.awaited) for writer in self.writers)

    def check(self, client, exact=False):
        """All that was acknowledged is there, and nothing else but what was sent after it; with `exact` nothing else at all. The
        writers go on from there."""
        there = 0
        for writer in self.writers:
            client.send(encoded("MGET", *writer.keys))
            need(client.line() == b"*%d\r\n" % len(writer.keys), "MGET")
            for key in writer.keys:
                got = client.reply()
                got = None if got == b"$-1\r\n" else got[got.index(b"\n") + 1:-2]
                first = writer.acknowledged[key]
                may = writer.values[key][first:first + 1 if exact else None]
                need(got in may, "%r is %r, and not one of %r (seed %d)" % (key, got, may[:5], self.seed))
                writer.values[key], writer.acknowledged[key] = [got], 0
                there += got is not None
        need(client.call("DBSIZE") == b":%d\r\n" % there, "there are keys that nobody has set (seed %d)" % self.seed)


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
        except Skipped as why:
            print("ok - %s # SKIP %s" % (case.__doc__, why))
        except Exception as why:  # pylint: disable=broad-except
            bad += 1
            print("not ok - %s: %s" % (case.__doc__, why))
            if not isinstance(why, Failed):
                traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    sys.exit(1 if bad else 0)
