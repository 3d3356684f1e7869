# SPDX-License-Identifier: MIT
"""kv with clients that people use: redis-cli, redis-benchmark, and a program written with hiredis."""

import os
import re
import shutil
import subprocess

from kvtest import BUILD, PATIENCE, Client, Kv, Redis, encoded, need, redis_server, run, scaled, skip

HIREDIS = os.path.join(BUILD, "examples/kv/check/hiredis_client")


def tool(server, *arguments, **how):
    """A program of Redis on a server: its output and its errors, as text."""
    name, *rest = arguments
    how = {"input": b"", "code": 0, **how}
    done = subprocess.run([name, "-p", str(server.port), *map(str, rest)], input=how["input"], capture_output=True, timeout=PATIENCE,
                          check=False)
    said = done.stdout.decode("latin-1"), done.stderr.decode("latin-1")
    need(done.returncode == how["code"], "%s ended with code %d: %s%s" % (" ".join(map(str, arguments)), done.returncode, *said))
    return said


def integer(server, *words):
    with Client(server.port) as client:
        reply = client.call(*words)
        need(reply.startswith(b":"), "%s: %r" % (words, reply))
        return int(reply[1:])


#
# redis-cli
#

SESSION = rb"""
PING
SET greeting "hello world"
GET greeting
GET nosuch
SET odd "\x00\xff\r\n\t\"quoted\""
GET odd
INCR counter
INCRBY counter 41
INCR greeting
MSET a 1 b 2 c 3
MGET a nosuch b c
EXISTS a b nosuch
DEL a b c
EXPIRE greeting 1000
TTL counter
TTL nosuch
TYPE greeting
NOSUCH a b
SET
GET a b
SET a 1 EX 0
SET a 1 NX XX
SELECT 0
SELECT 99
ECHO ""
APPEND greeting !
STRLEN greeting
KEYS count*
CONFIG GET timeout
CONFIG SET timeout x
CLIENT GETNAME
PUBLISH a b
PUBSUB NUMSUB a
FLUSHALL
DBSIZE
"""


def session():
    """redis-cli shows a session with kv as one with redis-server"""
    with Redis() as redis, Kv("--shards", "2") as kv:
        for form in (["--no-raw"], ["--raw"], ["--csv"]):
            ours, theirs = (tool(server, "redis-cli", *form, input=SESSION) for server in (kv, redis))
            need(ours == theirs, "%s: %s\nis not\n%s" % (form, ours, theirs))
        need("hello world" in ours[0] and ours[0].count("\n") > 30, "too little: %s" % ours[0])


def mass_insertion():
    """redis-cli --pipe, four at a time: every command is done once, those of each in order"""
    each = scaled(10000)
    with Kv("--shards", "2", "--io-loops", "2") as kv:
        pipes = []
        for number in range(4):
            pipe = subprocess.Popen(["redis-cli", "-p", str(kv.port), "--pipe"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            pipes.append(pipe)
        for number, pipe in enumerate(pipes):
            pipe.stdin.write(b"".join(encoded("INCR", "total") + encoded("SET", "key:%d:%d" % (number, i), i)
                                      + encoded("APPEND", "row:%d" % number, "%d " % i) for i in range(each)))
            pipe.stdin.close()
        for pipe in pipes:
            said = pipe.stdout.read().decode()
            pipe.stdout.close()
            need(pipe.wait(PATIENCE) == 0, "redis-cli ended with code %d: %s" % (pipe.returncode, said))
            need("errors: 0, replies: %d\n" % (3 * each) in said, said)
        need(integer(kv, "INCRBY", "total", 0) == 4 * each, "not every INCR, or one twice")
        need(integer(kv, "DBSIZE") == 4 * each + 5, "DBSIZE")
        row = "".join("%d " % i for i in range(each)).encode()
        with Client(kv.port) as client:
            for number in range(4):
                need(client.call("GET", "row:%d" % number) == b"$%d\r\n%s\r\n" % (len(row), row), "row %d is not in order" % number)
                need(client.call("GET", "key:%d:%d" % (number, each - 1)) == b"$%d\r\n%d\r\n" % (len(str(each - 1)), each - 1), "a key")


def scanning():
    """redis-cli --scan shows each key once, --bigkeys counts them, with any number of shards"""
    count = scaled(3000)
    names = {"key:%d" % number for number in range(count)}
    for shards in (1, 2, 4):
        with Kv("--shards", shards) as kv:
            with Client(kv.port) as client:
                need(client.call("MSET", *[word for name in names for word in (name, "x")]) == b"+OK\r\n", "MSET")
                need(client.call("SET", "key:1", "x" * 1000) == b"+OK\r\n", "SET")
            found = tool(kv, "redis-cli", "--scan")[0].split()
            need(set(found) == names and len(found) == count, "--scan: %d of %d keys" % (len(set(found)), count))
            found = tool(kv, "redis-cli", "--scan", "--pattern", "key:1*")[0].split()
            need(set(found) == {name for name in names if name.startswith("key:1")}, "--scan --pattern: %d keys" % len(found))
            said = tool(kv, "redis-cli", "--bigkeys")[0]
            need("Sampled %d keys in the keyspace!" % count in said, said)
            need("Biggest string found '\"key:1\"' has 1000 bytes" in said, said)


def refusing():
    """what kv has not is refused with a clear error"""
    with Kv() as kv:
        for command in (["monitor"], ["MULTI"], ["LPUSH", "a", "1"], ["eval", "return 1", "0"], ["BGSAVE"], ["SLAVEOF", "no", "one"]):
            errors = "".join(tool(kv, "redis-cli", "-e", *command, code=1))
            need("ERR unknown command '%s'" % command[0] in errors, "%s: %s" % (command, errors))
        errors = "".join(tool(kv, "redis-cli", "--rdb", os.path.join(kv.directory, "rdb"), code=1))
        need("ERR unknown command 'SYNC'" in errors, "--rdb: %s" % errors)
        out, errors = tool(kv, "redis-cli", "-3", "PING")
        need(out == "PONG\n" and "NOPROTO unsupported protocol version" in errors, "-3: %s%s" % (out, errors))
        out, errors = tool(kv, "redis-cli", "PING")
        need(out == "PONG\n" and errors == "", "it does not go on: %s%s" % (out, errors))


def following():
    """redis-cli subscribe prints all messages once and in order"""
    count = scaled(2000)
    with Kv("--io-loops", "2") as kv, Client(kv.port) as client:
        reader = subprocess.Popen(["redis-cli", "-p", str(kv.port), "--csv", "subscribe", "news"], stdout=subprocess.PIPE)
        try:
            lines = iter(reader.stdout.readline, b"")
            for line in lines:
                if line.startswith(b'"subscribe"'):
                    break
            client.send(b"".join(encoded("PUBLISH", "news", number) for number in range(count)))
            for number in range(count):
                need(client.reply() == b":1\r\n", "PUBLISH")
            for number in range(count):
                line = next(lines, b"")
                need(line == b'"message","news","%d"\n' % number, "message %d is %r" % (number, line))
        finally:
            reader.terminate()
            reader.wait()
            reader.stdout.close()


#
# redis-benchmark
#


def complaints(text):
    """Lines of the output that are no results."""
    return sorted(set(re.findall(r"(?:WARNING|ERR|Error|error)[^\r\n]*", text)))


def benchmark(server, count, *arguments):
    """Run it; how many commands the server has counted, and what it complained about."""
    with Client(server.port) as client:
        client.call("FLUSHALL")

        def commands():
            return int(re.search(rb"total_commands_processed:(\d+)", client.call("INFO", "stats")).group(1))

        before = commands()
        out, errors = tool(server, "redis-benchmark", "-n", count, *arguments)
        results = re.findall(r"([\d.]+|inf) requests per second", out)
        need(results and "0.00" not in results, "no results: %s%s" % (out, errors))
        return commands() - before, complaints(out + errors), len(results)


def benchmarks():
    """redis-benchmark comes to its end without errors: each of its requests is done, no more than it sends"""
    ways = [(["-P", "1"], 1, 4000), (["-P", "16"], 16, 40000), (["-c", "200", "-P", "64"], 64, 40000), (["-k", "0"], 1, 1000),
            (["-P", "16", "-r", "10000", "-d", "1000"], 16, 10000), (["--threads", "2", "-P", "16"], 16, 10000)]
    with Kv("--shards", "2", "--io-loops", "2") as kv:
        for arguments, pipeline, count in ways:
            count = max(scaled(count), 200 * pipeline)
            done, wrong, results = benchmark(kv, count, "-q", "-t", "set,get,incr,mset,ping", *arguments)
            need(results == 6, "%s: %d results" % (arguments, results))
            need(done >= 6 * count, "%s: only %d commands of %d" % (arguments, done, 6 * count))
            expected = []
            if redis_server() is not None:
                with Redis() as redis:
                    expected = benchmark(redis, 100, "-q", "-t", "ping", *arguments)[1]
            need(wrong == expected, "%s: %s" % (arguments, wrong))
            if "-r" not in arguments:
                total = integer(kv, "INCRBY", "counter:__rand_int__", 0)
                need(count <= total <= count + 200 * pipeline, "%s: %d increments, not %d" % (arguments, total, count))
                need(integer(kv, "STRLEN", "key:__rand_int__") == 3, "%s: the value" % arguments)
            else:
                need(integer(kv, "DBSIZE") > 1000, "%s: too few keys" % arguments)


def benchmark_with_password():
    """redis-benchmark and redis-cli with a password"""
    with Kv("--requirepass", "secret") as kv:
        out, errors = tool(kv, "redis-benchmark", "-a", "secret", "-n", 1000, "-q", "-t", "set,get")
        need(out.count("requests per second") == 2 and not complaints(out + errors), out + errors)
        out, errors = tool(kv, "redis-cli", "-a", "secret", "--no-auth-warning", "GET", "key:__rand_int__")
        need(len(out) == 4 and errors == "", out + errors)
        out, errors = tool(kv, "redis-cli", "-e", "GET", "key:__rand_int__", code=1)
        need("NOAUTH Authentication required." in out + errors, out + errors)


#
# hiredis
#


def hiredis():
    """a client written with hiredis, on kv with 1 and 4 shards, and on redis-server"""
    if not os.path.exists(HIREDIS):
        print("ok - hiredis # SKIP it is not here")
        return
    servers = [lambda: Kv("--shards", "1"), lambda: Kv("--shards", "4", "--io-loops", "3", "--shard-loops", "own")]
    if redis_server() is not None:
        servers.append(Redis)
    for start in servers:
        with start() as server:
            done = subprocess.run([HIREDIS, str(server.port)], capture_output=True, timeout=PATIENCE, check=False)
            said = done.stdout.decode() + done.stderr.decode()
            need(done.returncode == 0 and said.count("ok - ") == 8, "code %d: %s" % (done.returncode, said))


if shutil.which("redis-cli") is None or shutil.which("redis-benchmark") is None:
    skip("needs redis-tools")
run(session, mass_insertion, scanning, refusing, following, benchmarks, benchmark_with_password, hiredis)
