# SPDX-License-Identifier: MIT
"""The append-only file: crashes, torn and damaged files, full disks, and other readers of it."""

import ctypes
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time

from kvtest import PATIENCE, Client, Failed, Kv, Load, Redis, encoded, kv_fails, need, redis_server, run, scaled, skip_case

FILE = "appendonly.aof"
WRITTEN = ("--appendonly", "yes")
ALWAYS = (*WRITTEN, "--appendfsync", "always")


class Directory:
    """A directory for servers that come one after the other."""

    def __enter__(self):
        self.path = tempfile.mkdtemp(prefix="uvch-kv-")
        return self

    def __exit__(self, *why):
        shutil.rmtree(self.path, ignore_errors=True)

    def kv(self, *arguments, **how):
        return Kv(*arguments, directory=self.path, **how)

    def write(self, data):
        with open(os.path.join(self.path, FILE), "wb") as file:
            file.write(data)

    def read(self):
        with open(os.path.join(self.path, FILE), "rb") as file:
            return file.read()


def shape(load):
    """How many loops there are does not matter for the file."""
    return "--io-loops", load.random.randrange(1, 4), "--shards", load.random.randrange(1, 4)


#
# Crashes and ends
#


def killed():
    """after kill -9 under load all that was acknowledged is there, and nothing that was not sent"""
    unanswered = 0
    with Directory() as place:
        load = Load(6)
        for _ in range(scaled(8)):
            with place.kv(*ALWAYS, *shape(load)) as kv:
                load.start(kv.port)
                load.wait_for(load.random.randrange(1500))
                kv.kill()
                unanswered += load.finish()
            with place.kv(*WRITTEN, *shape(load)) as kv, Client(kv.port) as client:
                load.check(client)
    print("%d changes were acknowledged, %d were under way when a server was killed" % (load.count, unanswered))
    need(unanswered > 0, "no server was killed while it had something to do")


def ended(policy):
    with Directory() as place:
        load = Load(4)
        for _ in range(scaled(2)):
            with place.kv(*WRITTEN, "--appendfsync", policy, *shape(load)) as kv:
                load.start(kv.port)
                load.wait_for(load.random.randrange(3000))
                need(kv.stop() == 0, "exit code")
                load.finish()
            with place.kv(*WRITTEN, *shape(load)) as kv, Client(kv.port) as client:
                load.check(client)


def ended_everysec():
    """an end in order loses nothing with appendfsync everysec"""
    ended("everysec")


def ended_no():
    """an end in order loses nothing with appendfsync no"""
    ended("no")


def grouped():
    """appendfsync always: many clients share an fsync"""
    each = scaled(40)
    with Kv(*ALWAYS) as kv:
        clients = [Client(kv.port) for _ in range(50)]
        for i in range(each):
            for client in clients:
                client.send(encoded("SET", "k", i))
            for client in clients:
                need(client.reply() == b"+OK\r\n", "SET")
        text = clients[0].call("INFO", "persistence")
        for client in clients:
            client.close()
    fsyncs = int(re.search(rb"aof_fsyncs:(\d+)", text).group(1))
    print("%d writes, %d fsyncs" % (each * 50, fsyncs))
    need(0 < fsyncs < each * 50, "%d fsyncs for %d writes" % (fsyncs, each * 50))


#
# Files
#


WHOLE = encoded("SET", "first", "1") + encoded("SET", "second", "2")


def values(place, *keys):
    """What a new server has, and what it said."""
    with place.kv(*WRITTEN) as kv, Client(kv.port) as client:
        replies = [client.call("GET", key) for key in keys]
        need(client.call("DBSIZE") == b":%d\r\n" % sum(reply != b"$-1\r\n" for reply in replies), "there are other keys")
        return replies, kv.complaints()


ALL = [b"$1\r\n1\r\n", b"$1\r\n2\r\n", b"$1\r\n3\r\n"]
BUT_THE_LAST = [*ALL[:2], b"$-1\r\n"]


def torn():
    """a torn end is cut off at every byte, with a message, and all before it is kept"""
    last = encoded("SET", "third", "3")
    with Directory() as place:
        for size in range(1, len(last), max(1, 10 // scaled(10))):
            place.write(WHOLE + last[:size])
            got, said = values(place, "first", "second", "third")
            need(got == BUT_THE_LAST, "%d bytes of the last: %r" % (size, got))
            need("%d bytes at offset %d are cut off" % (size, len(WHOLE)) in said, said)
            need(place.read() == WHOLE, "the file is %r" % place.read())
        place.write(WHOLE + last)
        got, said = values(place, "first", "second", "third")
        need(got == ALL and "cut off" not in said and place.read() == WHOLE + last, "the whole: %r, %s" % (got, said))
        place.write(WHOLE + last[:9] + bytes(100000))
        got, said = values(place, "first", "second", "third")
        need(got == BUT_THE_LAST and place.read() == WHOLE, "zeros instead of the end: %r" % got)


def damaged():
    """damage in the middle ends the start, with its place, and the file stays as it was"""
    first, middle, last = (encoded("SET", key, "12345") for key in ("first", "middle", "last"))
    places = [i for i, c in enumerate(middle) if c in b"*$\r\n" or i in (1, 5, 9, 10, 14)]
    with Directory() as place:
        for at in places[::max(1, 10 // scaled(10))]:
            data = first + middle[:at] + b"x" + middle[at + 1:] + last
            place.write(data)
            code, said = kv_fails("--port", 0, *WRITTEN, "--dir", place.path)
            need(code == 1, "damage at byte %d: exit code %d: %s" % (at, code, said))
            need(re.search(r"offset %d\b" % len(first), said) and "left as it is" in said, said)
            need(place.read() == data, "the file was changed: %r" % place.read())


def give_up_override():
    """In the child: root, too, may open only what the mode lets him."""
    pr_capbset_drop, overrides = 24, (1, 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    for capability in overrides:
        if ctypes.CDLL(None).prctl(pr_capbset_drop, capability, 0, 0, 0) != 0:
            raise OSError("cannot give up a capability")


def no_file():
    """a file that cannot be used: a message and exit code 1"""
    with Directory() as place:
        path = os.path.join(place.path, FILE)

        def refused(what, text, *arguments, **how):
            code, said = kv_fails("--port", 0, *WRITTEN, "--dir", place.path, *arguments, **how)
            need(code == 1 and text in said and "cannot use the append-only file" in said, "%s: %d, %s" % (what, code, said))

        refused("no directory", "no such file or directory", "--dir", os.path.join(place.path, "none"))
        os.mkdir(path)
        refused("a directory", "illegal operation on a directory")
        os.rmdir(path)
        os.mkfifo(path)
        refused("a FIFO", "inappropriate file type")
        os.remove(path)
        os.symlink("/dev/full", path)
        refused("a device", "inappropriate file type")
        os.remove(path)
        place.write(WHOLE)
        how = {"preexec_fn": give_up_override} if os.geteuid() == 0 else {}
        for mode in (0o000, 0o200, 0o400):
            os.chmod(path, mode)
            refused("mode %o" % mode, "permission denied", **how)
        os.chmod(path, 0o600)
        need(place.read() == WHOLE, "the file was changed")


#
# Full disks
#


def fill(client, value):
    """Write until that is refused. Returns how many writes were acknowledged."""
    for i in range(100000):
        reply = client.call("SET", i, value)
        if reply.startswith(b"-MISCONF"):
            return i
        need(reply == b"+OK\r\n", "a write was answered %r" % reply)
    raise Failed("the disk does not get full")


def recover(client):
    """Write until that works again: it is tried once in a second."""
    end = time.monotonic() + PATIENCE
    while client.call("SET", "again", "1") != b"+OK\r\n":
        need(time.monotonic() < end, "writes are refused for ever")


def run_out(place, kv, make_room):
    """What has to hold when the disk of a server is full, and then is not."""
    value = b"v" * 1000
    with Client(kv.port) as client, Client(kv.port) as other:
        count = fill(client, value)
        for i in range(count):
            need(client.call("GET", i) == b"$1000\r\n%s\r\n" % value, "key %d cannot be read" % i)
        need(other.call("DEL", "none").startswith(b"-MISCONF"), "another client was not told")
        other.send(encoded("SET", "x", "1") * 100 + encoded("PING"))
        need(all(other.reply().startswith(b"-MISCONF") for _ in range(100)), "writes in a row")
        need(other.reply() == b"+PONG\r\n", "PING")
        make_room()
        recover(client)
        need(client.call("SET", "after", "1") == b"+OK\r\n", "a write after that")
    need(kv.stop() == 0, kv.complaints())
    need("cannot write" in kv.complaints() and "all is written" in kv.complaints(), kv.complaints())
    with place.kv(*WRITTEN) as again, Client(again.port) as client:
        for i in range(count):
            need(client.call("GET", i) == b"$1000\r\n%s\r\n" % value, "key %d is not in the file" % i)
        need([client.call("GET", key) for key in ("again", "after")] == [b"$1\r\n1\r\n"] * 2, "what came after is not in the file")


def limited():
    """a file that may not grow: errors and not silence, reads go on, writes come back, what was acknowledged is there"""
    unlimited = resource.RLIM_INFINITY

    with Directory() as place:
        kv = place.kv(*ALWAYS, preexec=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (60000, unlimited)))
        with kv:
            run_out(place, kv, lambda: resource.prlimit(kv.process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited)))


def full():
    """a full disk: the same"""
    with Directory() as place:
        disk = os.path.join(place.path, "disk")
        os.mkdir(disk)
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "kv", disk], check=False,
                                               stderr=subprocess.DEVNULL).returncode != 0:
            skip_case("it takes the right to mount a file system")
        try:
            with open(os.path.join(disk, "ballast"), "wb") as ballast:
                ballast.write(bytes(128 * 1024))
            with place.kv(*ALWAYS, "--dir", disk) as kv:
                inside = Directory()
                inside.kv = lambda *arguments: place.kv(*arguments, "--dir", disk)
                run_out(inside, kv, lambda: os.remove(os.path.join(disk, "ballast")))
        finally:
            subprocess.run(["umount", disk], check=True)


#
# Other readers, and times
#


def redis_reads():
    """redis-server loads the file and has the same keys, values and times"""
    if redis_server() is None:
        skip_case("no redis-server here")
    with Directory() as place:
        load = Load(3)
        with place.kv(*WRITTEN, *shape(load)) as kv:
            load.start(kv.port)
            load.wait_for(500)
            need(load.finish() == 0, "commands were not answered")
            with Client(kv.port) as client:
                client.call("SET", "timed", "1", "PXAT", "4000000000000")
                client.call("SET", "freed", "1", "EX", "1000")
                client.call("PERSIST", "freed")
        with Redis("--appendonly", "yes", "--dir", place.path) as redis, Client(redis.port) as client:
            need(client.call("PEXPIRETIME", "timed") == b":4000000000000\r\n", "the time of a key")
            need(client.call("TTL", "freed") == b":-1\r\n", "a key without a time has one")
            need(client.call("DEL", "timed", "freed") == b":2\r\n", "DEL")
            load.check(client, exact=True)


def times():
    """times at which keys expire hold over a restart, and what has expired meanwhile is gone"""
    with Directory() as place:
        place.write(encoded("SET", "old", "1", "PXAT", "1000") + WHOLE)
        with place.kv(*ALWAYS) as kv, Client(kv.port) as client:
            need(client.call("GET", "old") == b"$-1\r\n", "a key whose time is over is there")
            need(client.call("GET", "first") == b"$1\r\n1\r\n", "a key without a time is not")
            client.call("SET", "long", "1", "PX", "1000000")
            client.call("SET", "short", "1", "PX", "1000000")
            client.call("PEXPIRE", "short", "1")
            before = int(client.call("PTTL", "long")[1:])
            kv.kill()
        with place.kv(*ALWAYS) as kv, Client(kv.port) as client:
            after = int(client.call("PTTL", "long")[1:])
            need(0 < after <= before, "PTTL is %d, and was %d" % (after, before))
            need(client.call("GET", "short") == b"$-1\r\n", "a key is there whose time is over")


run(killed, ended_everysec, ended_no, grouped, torn, damaged, no_file, limited, full, redis_reads, times)
