# SPDX-License-Identifier: MIT
"""Memory and service under clients who do not read, do not finish, do nothing, or are many."""

import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

from kvtest import PATIENCE, Client, Kv, encoded, kv_is_checked, need, run, scaled, skip_case

MB = 1024  # KiB
BIG = 1 << 20


def need_small(kv, limit, what):
    """Memory is that of kv itself only without a sanitizer."""
    now = kv.resident()
    print("%s: %.1f MiB" % (what, now / MB))
    need(now < limit or kv_is_checked(), "%s: %d KiB, and more than %d are too many" % (what, now, limit))


def still(kv):
    """Until the server has taken and done what it could: its number of commands stands."""
    with Client(kv.port) as client:
        last = same = 0
        while same < 100:
            now = int(re.search(rb"total_commands_processed:(\d+)", client.call("INFO", "stats")).group(1))
            same = same + 1 if now == last + 1 else 0  # INFO itself
            last = now


def push(client, data):
    """Send as much as goes without waiting."""
    client.socket.setblocking(False)
    try:
        while data:
            data = data[client.socket.send(data):]
    except BlockingIOError:
        pass
    client.socket.settimeout(PATIENCE)


def deaf():
    """clients who ask for big values and do not read cost a bounded amount each, and others are served"""
    with Kv("--client-output-buffer-limit-normal", "64kb") as kv, Client(kv.port) as client:
        need(client.call("SET", "big", b"v" * BIG) == b"+OK\r\n", "SET")
        clients = [Client(kv.port) for _ in range(20)]
        for other in clients:
            push(other, encoded("GET", "big") * 10000)  # 10 GB of replies
        still(kv)
        need_small(kv, 300 * MB, "20 clients who do not read 10 GB of replies each")
        need(client.call("PING") == b"+PONG\r\n", "PING")
        for other in clients:
            need(other.reply() == b"$%d\r\n%s\r\n" % (BIG, b"v" * BIG), "the first reply")
            other.close()


def half():
    """announced bytes that do not come cost nothing"""
    with Kv() as kv:
        clients = [Client(kv.port) for _ in range(scaled(200))]
        for i, client in enumerate(clients):
            client.send((b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nvv", b"*1048576\r\n", b"*1048576\r\n$536870912\r\n")[i % 3])
        with Client(kv.port) as other:
            other.call("PING")
        still(kv)
        need_small(kv, 100 * MB, "%d clients with half a command" % len(clients))
        with Client(kv.port) as other:
            need(other.call("SET", "a", "1") == b"+OK\r\n", "SET")
        for client in clients:
            client.close()


def many():
    """very many idle connections: all are served, and all are closed at the end"""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    count = min(scaled(10000), 1 << 20 if hard == resource.RLIM_INFINITY else hard - 200)
    if count < scaled(10000):
        print("only %d connections: the system allows %d descriptors" % (count, hard))
    with Kv("--maxclients", count + 1) as kv:
        before = kv.resident()
        clients = []
        for i in range(count):
            client = socket.socket()
            client.settimeout(PATIENCE)
            client.bind(("127.0.0.%d" % (1 + i % 5), 0))
            client.connect(("127.0.0.1", kv.port))
            clients.append(client)
        for _ in range(2):
            for client in clients:
                client.sendall(b"PING\r\n")
            for i, client in enumerate(clients):
                need(client.recv(100) == b"+PONG\r\n", "connection %d" % i)
        each = (kv.resident() - before) * 1024 / count
        print("%d connections: %.0f bytes of memory for each" % (count, each))
        need(each < 16384 or kv_is_checked(), "%d bytes for each" % each)
        kv.process.send_signal(signal.SIGTERM)
        for client in clients:
            need(client.recv(100) == b"", "something was sent at the end")
            client.close()
        need(kv.wait() == 0 and kv.complaints() == "", kv.complaints())


def frozen():
    """a stopped process as a client holds up nobody"""
    program = ("import socket, sys\ns = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
               "s.sendall(b'PING\\r\\n'); s.recv(10); s.sendall(b'SUBSCRIBE news\\r\\n'); s.recv(10); print('x', flush=True); s.recv(1)\n"
               "while s.recv(65536): pass\n")
    with Kv("--client-output-buffer-limit-pubsub", "1mb") as kv, Client(kv.port) as reader, Client(kv.port) as writer:
        with subprocess.Popen([sys.executable, "-c", program, str(kv.port)], stdout=subprocess.PIPE) as process:
            need(process.stdout.readline() == b"x\n", "the client did not begin")
            process.send_signal(signal.SIGSTOP)
            try:
                reader.call("SUBSCRIBE", "news")
                hear_all(kv, reader, writer)
            finally:
                process.send_signal(signal.SIGCONT)
            process.wait()


def hear_all(kv, reader, writer):
    """Publish until the subscriber who does not read is closed; the other one has to get all."""
    sent = 0
    text = b"x" * 10000
    while "does not read what it has subscribed to" not in kv.complaints():
        need(sent < 100000, "a slow subscriber is never closed")
        need(writer.call("PUBLISH", "news", b"%d " % sent + text)[:1] == b":", "PUBLISH")
        got = reader.reply()
        need(got.endswith(b"\r\n%d %s\r\n" % (sent, text)), "message %d: %r" % (sent, got[:80]))
        sent += 1
    need_small(kv, 200 * MB, "a subscriber who did not read %d messages of 10 kB" % sent)


def crowd():
    """maxclients: one more is told so and closed, and there is room again when somebody has gone"""
    with Kv("--maxclients", 3) as kv:
        clients = [Client(kv.port) for _ in range(3)]
        need(all(client.call("PING") == b"+PONG\r\n" for client in clients), "PING")
        with Client(kv.port) as one_more:
            need(one_more.rest() == b"-ERR max number of clients reached\r\n", "one more was not refused")
        clients.pop().close()
        end = time.monotonic() + PATIENCE
        while True:
            with Client(kv.port) as next_one:
                next_one.socket.sendall(b"PING\r\n")
                if next_one.reply() == b"+PONG\r\n":
                    break
            need(time.monotonic() < end, "there is never room again")
        for client in clients:
            client.close()


def few_descriptors():
    """maxclients for which there are no descriptors: less at the start, with a message; refused by CONFIG SET, as with Redis"""
    with Kv("--maxclients", 1000, preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (300, 300))) as kv:
        need("maxclients is" in kv.complaints(), kv.complaints())
        with Client(kv.port) as client:
            reply = client.call("CONFIG", "SET", "maxclients", 500)
            found = re.search(rb"is not able to handle the specified number of clients, try with (\d+)\r\n$", reply)
            need(found is not None, reply)
            need(client.call("CONFIG", "GET", "maxclients").endswith(b"\r\n%s\r\n" % found.group(1)), "maxclients at the start")
            need(client.call("CONFIG", "SET", "maxclients", found.group(1)) == b"+OK\r\n", "what was proposed")
        clients = [Client(kv.port) for _ in range(int(found.group(1)) - 1)]
        need(all(client.call("PING") == b"+PONG\r\n" for client in clients), "PING")
        for client in clients:
            client.close()


def long_query():
    """more than client-query-buffer-limit closes a client, with a line on standard error"""
    with Kv("--client-query-buffer-limit", "1mb") as kv, Client(kv.port) as client:
        try:
            client.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$500000000\r\n" + b"v" * 50 * BIG)
        except (BrokenPipeError, ConnectionResetError):
            pass
        need(client.rest() == b"" and "client-query-buffer-limit" in kv.complaints(), kv.complaints())
        need_small(kv, 100 * MB, "after that")


def idle():
    """timeout closes idle clients, and no subscribers"""
    with Kv("--timeout", "1") as kv, Client(kv.port) as subscriber, Client(kv.port) as client:
        need(subscriber.call("SUBSCRIBE", "news")[:4] == b"*3\r\n", "SUBSCRIBE")
        need(client.rest() == b"", "an idle client was sent something")
        with Client(kv.port) as again:
            need(again.rest() == b"", "another one was")
            with Client(kv.port) as writer:
                need(writer.call("PUBLISH", "news", "x") == b":1\r\n", "the subscriber is gone")
        need(subscriber.reply().endswith(b"$1\r\nx\r\n"), "the message")


def benchmark():
    """redis-benchmark with 200 clients and 64 commands in a row: memory stays what keys and clients take"""
    if shutil.which("redis-benchmark") is None:
        skip_case("no redis-benchmark here")
    with Kv("--appendonly", "yes") as kv:
        done = subprocess.run(["redis-benchmark", "-p", str(kv.port), "-P", "64", "-c", "200", "-t", "set,get", "-q", "-r", "1000",
                               "-n", str(scaled(200000))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)
        need(done.returncode == 0, done.stderr)
        need_small(kv, 100 * MB, "after redis-benchmark -P 64 -c 200")


run(deaf, half, many, frozen, crowd, few_descriptors, long_query, idle, benchmark)
