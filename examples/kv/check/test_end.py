# SPDX-License-Identifier: MIT
"""The end: by signals and commands, under load, with clients who do not read, during the start, and starts that fail."""

import os
import re
import signal
import socket
import subprocess
import tempfile

from kvtest import BUILD, Client, Kv, Load, encoded, kv_fails, need, run, scaled

ALWAYS = ("--appendonly", "yes", "--appendfsync", "always")


def is_quiet(said):
    """Whether standard error has only what is to be said about a file and an end."""
    return re.fullmatch(r"(kv: \d+ commands were read from .*\n|kv: client \d+ has asked for the end\n)*", said) is not None


def shut(kv, how):
    """Ask for the end, by a signal or as a client."""
    if isinstance(how, str):
        with Client(kv.port) as client:
            client.send(encoded(*how.split()))
            rest = client.rest()
            need(rest == b"", "%s was answered %r" % (how, rest))
    else:
        kv.process.send_signal(how)


def loaded():
    """an end under load: exit code 0, nothing on standard error, and just what was answered is there, no more and no less"""
    with tempfile.TemporaryDirectory(prefix="uvch-kv-") as directory:
        load = Load(6)
        for how in (signal.SIGINT, signal.SIGTERM, "SHUTDOWN", "SHUTDOWN NOSAVE", "SHUTDOWN SAVE") * scaled(2):
            shape = "--io-loops", load.random.randrange(1, 4), "--shards", load.random.randrange(1, 4)
            with Kv(*ALWAYS, *shape, directory=directory) as kv:
                load.start(kv.port)
                load.wait_for(load.random.randrange(800))
                shut(kv, how)
                code = kv.wait()
                load.finish()
                need(code == 0 and is_quiet(kv.complaints()), "%s: exit code %d: %s" % (how, code, kv.complaints()))
            with Kv("--appendonly", "yes", directory=directory) as kv, Client(kv.port) as client:
                load.check(client, exact=True)


def slow_reader(kv):
    """A client that has asked for much more than fits into sockets, and has read nothing; a part of it has been taken."""
    client = Client(kv.port)
    need(client.call("SET", "big", b"v" * 100000) == b"+OK\r\n", "SET")
    client.socket.setblocking(False)
    asked = encoded("GET", "big") * 20000
    try:
        while asked:
            asked = asked[client.socket.send(asked):]
    except BlockingIOError:
        pass
    client.socket.settimeout(120)
    need(client.reply()[:8] == b"$100000\r", "the first reply")
    return client


def answered():
    """replies to what was taken come before the connection is closed, also to who is slow and has sent more"""
    with Kv() as kv, slow_reader(kv) as client:
        kv.process.send_signal(signal.SIGTERM)
        count = 0
        while client.pending or client.fill():
            need(client.reply() == b"$100000\r\n" + b"v" * 100000 + b"\r\n", "reply %d" % count)
            count += 1
        need(kv.wait() == 0 and count > 0, kv.complaints())
        need(is_quiet(kv.complaints()), kv.complaints())


def frozen():
    """a client who does not read holds up the end; a second signal ends it at once"""
    with Kv() as kv, slow_reader(kv), Client(kv.port) as other:
        kv.process.send_signal(signal.SIGTERM)
        need(other.rest() == b"", "an idle client gets no bytes")  # so the first signal has been seen
        need(kv.process.poll() is None, "the client did not hold up the end")
        kv.process.send_signal(signal.SIGINT)
        need(kv.wait() == 0 and kv.complaints() == "", kv.complaints())


def listeners():
    """subscribers and idle clients are closed at the end"""
    with Kv("--io-loops", 2) as kv:
        clients = [Client(kv.port) for _ in range(20)]
        for i, client in enumerate(clients):
            if i % 2:
                client.call("SUBSCRIBE", "news")
                client.call("PSUBSCRIBE", "n*")
            else:
                client.call("PING")
        kv.process.send_signal(signal.SIGINT)
        need(all(client.rest() == b"" for client in clients), "somebody was sent something")
        need(kv.wait() == 0 and kv.complaints() == "", kv.complaints())
        for client in clients:
            client.close()


def replay():
    """a signal while the file is being read: the end at once, and the file is as it was"""
    with tempfile.TemporaryDirectory(prefix="uvch-kv-") as directory:
        path = os.path.join(directory, "appendonly.aof")
        data = b"".join(encoded("SET", i, "v" * 50) for i in range(scaled(200000))) + b"*1\r\n"
        with open(path, "wb") as file:
            file.write(data)
        for number in (signal.SIGINT, signal.SIGTERM):
            command = [os.path.join(BUILD, "examples/kv/kv"), "--port", "0", "--dir", directory, "--appendonly", "yes"]
            with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
                while os.path.basename(os.readlink("/proc/%d/exe" % process.pid)) not in ("kv", "lt-kv"):
                    pass  # libtool's script comes first
                process.send_signal(number)
                out, errors = process.communicate()
            need(process.returncode in (0, -number), "exit code %d: %s" % (process.returncode, errors))
            need(b"Sanitizer" not in errors and (process.returncode != 0 or out == b"" or b"listening" in out), errors)
            with open(path, "rb") as file:
                there = file.read()
            need(there in (data, data[:-4]), "the file was changed: %d bytes" % len(there))
        with Kv("--appendonly", "yes", directory=directory) as kv, Client(kv.port) as client:
            need(client.call("DBSIZE") == b":%d\r\n" % scaled(200000), "keys are missing")


def taken_port():
    """a port in use: a message and exit code 1"""
    with Kv() as kv:
        code, said = kv_fails("--port", kv.port)
        need(code == 1 and said == "kv: cannot listen on 127.0.0.1 port %d: address already in use\n" % kv.port, said)


def wrong_use():
    """wrong usage: a message and exit code 2"""
    for arguments in (["--none"], ["--port"], ["--port", "70000"], ["--port", "x"], ["--appendfsync", "often"], ["file"],
                      ["--maxclients", "0"], ["--bind", "nowhere"], ["--io-loops", "0"], ["--shards", "-1"]):
        code, said = kv_fails(*arguments)
        need(code == 2 and said.endswith("kv: see kv --help\n") and said.count("\n") == 2, "%s: %d, %s" % (arguments, code, said))


def no_output():
    """a standard output that takes nothing: a message and exit code 1"""
    with open("/dev/full", "wb") as full:
        code, said = kv_fails("--port", 0, stdout=full)
    need(code == 1 and "standard output" in said, "/dev/full: %d, %r" % (code, said))
    read, write = os.pipe()
    os.close(read)
    code, said = kv_fails("--port", 0, stdout=write)
    os.close(write)
    need(code == 1 and "standard output" in said, "a pipe that nobody reads: %d, %r" % (code, said))
    code, said = kv_fails("--port", 0, preexec_fn=lambda: os.close(1))
    need(code == 1 and "standard output" in said, "closed: %d, %r" % (code, said))


def no_errors():
    """a standard error that is closed: nothing of it gets into the file"""
    with tempfile.TemporaryDirectory(prefix="uvch-kv-") as directory:
        with open(os.path.join(directory, "appendonly.aof"), "wb") as file:
            file.write(encoded("SET", "a", "1"))
        with Kv(*ALWAYS, directory=directory, preexec=lambda: (os.close(0), os.close(2))) as kv, Client(kv.port) as client:
            need(client.call("SET", "b", "2") == b"+OK\r\n", "SET")
            shut(kv, "SHUTDOWN")  # which says something
            need(kv.wait() == 0, "exit code")
        with open(os.path.join(directory, "appendonly.aof"), "rb") as file:
            data = file.read()
        need(data == encoded("SET", "a", "1") + encoded("SET", "b", "2"), "the file has %r" % data)


run(loaded, answered, frozen, listeners, replay, taken_port, wrong_use, no_output, no_errors)
