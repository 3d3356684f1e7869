# SPDX-License-Identifier: MIT
"""kv and Debian's redis-server are sent the same, and have to answer the same, byte for byte. What is sent is in compare.txt."""

import os
import re
import socket
import time

from kvtest import Client, Failed, Kv, Redis, encoded, need, redis_server, run, skip

HERE = os.path.dirname(os.path.abspath(__file__))
MEANT = "not as with Redis: "
MARK = b"mark-%d"
SMALL = 200000  # bytes of a session that can go one by one
PIECE = 4099  # of a larger one

#
# compare.txt
#

ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "\\": "\\", '"': '"'}


def unescaped(text):
    """Bytes of a text with \\r, \\x00 and the like, and %a*100% for a hundred of a letter."""
    text = re.sub(r"%(.)\*(\d+)%", lambda found: found.group(1) * int(found.group(2)), text)
    text = re.sub(r"\\(x[0-9a-f]{2}|.)", lambda found: chr(int(found.group(1)[1:], 16)) if found.group(1)[0] == "x"
                  else ESCAPES[found.group(1)], text)
    return text.encode("latin-1")


def words_of(text):
    """Words as a shell has them, with double quotes only."""
    return [unescaped(quoted if quoted or not plain else plain)
            for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', text)]


class Step:
    """A line: what is sent on one of two connections, or what has to come by itself."""

    def __init__(self, text):
        self.text = text
        self.differs = text.startswith("~ ")
        text = text[2:] if self.differs else text
        self.other = text.startswith("other: ")
        text = text[7:] if self.other else text
        words = words_of(text)
        self.kind = words[0].decode("latin-1") if words[0] in (b"raw", b"end", b"receive") else "command"
        self.words = words if self.kind == "command" else words[1:]
        self.data = encoded(*words) if self.kind == "command" else words[1] if self.kind != "receive" else b""

    def __str__(self):
        return self.text if len(self.text) < 200 else self.text[:200] + "..."


class Session:
    """Steps for new connections, on a server without keys."""

    def __init__(self, title):
        self.title, _, password = title.partition(", with the password ")
        self.password = password.encode()
        self.steps = []

    def is_stream(self):
        """Whether all of it can be sent at once."""
        return not any(step.other or step.differs or step.kind == "receive" for step in self.steps)

    def size(self):
        return sum(len(step.data) for step in self.steps)


def sessions():
    found = []
    with open(os.path.join(HERE, "compare.txt"), encoding="latin-1") as script:
        for line in script.read().splitlines():
            if line.startswith("== "):
                found.append(Session(line[3:]))
            elif line and not line.startswith("#"):
                found[-1].steps.append(Step(line))
    return found


#
# Answers
#


def ask(server, *words):
    with Client(server.port) as client:
        return client.call(*words)


def prepare(server, session):
    ask(server, "FLUSHALL")
    if session.password:
        ask(server, "CONFIG", "SET", "requirepass", session.password)


def tidy(server, session):
    if session.password:
        with Client(server.port) as client:
            client.call("AUTH", session.password)
            client.call("CONFIG", "SET", "requirepass", "")


def until_mark(client, number, password):
    """All replies before that to a command that can be told from others."""
    mark = MARK % number
    replies = []
    client.send(encoded("HELLO", "9") if password else encoded("PING", mark))
    while True:
        reply = client.reply()
        if password and reply == b"-NOPROTO unsupported protocol version\r\n" or reply.endswith(mark + b"\r\n"):
            return replies
        replies.append(reply)


def until_end(client, step):
    """All replies before the server closes the connection; if it need not do so, it is told that nothing more comes."""
    if not step.differs:
        return split(client.rest())
    client.socket.shutdown(socket.SHUT_WR)
    return [client.rest()]


def split(data):
    """Bytes as replies."""
    client = Client.__new__(Client)
    client.socket, client.pending = None, data
    replies = []
    while client.pending:
        replies.append(client.reply())
    return replies


def step_by_step(server, session):
    """The replies to each step."""
    answers = []
    with Client(server.port) as first, Client(server.port) as second:
        for number, step in enumerate(session.steps):
            client = second if step.other else first
            if step.kind == "receive":
                answers.append([client.reply() for _ in range(int(step.words[0]))])
                continue
            client.send(step.data)
            answers.append(until_end(client, step) if step.kind == "end" else until_mark(client, number, session.password))
    return answers


def as_stream(server, session, size):
    """The replies to all steps, sent in pieces of that size."""
    data = b"".join(step.data for step in session.steps)
    if session.steps[-1].kind != "end":
        data += encoded("QUIT")
    with Client(server.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        size = size if session.size() < SMALL else max(size, PIECE)
        for at in range(0, len(data), size):
            client.send(data[at:at + size])
        return split(client.rest())


def answers_of(server, session, size):
    prepare(server, session)
    try:
        return as_stream(server, session, size) if size else step_by_step(server, session)
    finally:
        tidy(server, session)


#
# Whether they are the same
#


def elements(reply):
    """A reply that is an array, as its parts in some order: names with their values, for CONFIG."""
    return split(reply[reply.index(b"\r\n") + 2:])


def normal(step, reply):
    """Without what is of one server or of one moment."""
    name = step.words[0].upper() if step.kind == "command" else b""
    if name == b"HELLO":
        return re.sub(rb"(\$2\r\nid\r\n):\d+", rb"\1:N", reply)
    if [word.upper() for word in step.words[:2]] == [b"CLIENT", b"ID"]:
        return re.sub(rb"^:[1-9]\d*\r", rb":N\r", reply)
    if name == b"KEYS" and reply.startswith(b"*"):
        return sorted(elements(reply))
    if name == b"CONFIG" and reply.startswith(b"*"):
        parts = elements(reply)
        return sorted(zip(parts[::2], parts[1::2]))
    return reply


def are_close(step, one, other, elapsed):
    """Times that are left: they differ by no more than the time that has gone."""
    unit = {b"TTL": 1, b"PTTL": 1000}.get(step.words[0].upper())
    numbers = [re.fullmatch(rb":(\d+)\r\n", reply) for reply in (one, other)]
    return unit is not None and all(numbers) and abs(int(numbers[0][1]) - int(numbers[1][1])) <= elapsed * unit + 1


def are_same(step, one, other, elapsed):
    if len(one) != len(other):
        return False
    if step.kind == "receive":  # a message by its name and by some patterns: in no order
        one, other = sorted(one), sorted(other)
    return all(normal(step, a) == normal(step, b) or are_close(step, a, b, elapsed) for a, b in zip(one, other))


def grouped(replies, like):
    """Replies to the steps, as many to each as with `like`."""
    at = 0
    groups = []
    for step in like:
        groups.append(replies[at:at + len(step)])
        at += len(step)
    return groups


def shown(replies):
    text = repr(b"".join(replies))
    return text if len(text) < 400 else text[:400] + "..."


def differences(kv, redis, session, size):
    """What is wrong with a session, as lines of text."""
    began = time.monotonic()
    expected = answers_of(redis, session, 0)
    got = answers_of(kv, session, size)
    if size:
        need(len(got) >= sum(map(len, expected)), "%s: only %d replies" % (session.title, len(got)))
        got = grouped(got, expected)
    elapsed = time.monotonic() - began
    wrong = []
    for step, one, other in zip(session.steps, got, expected):
        if are_same(step, one, other, elapsed) == step.differs:
            wrong.append("%s\n  %s\n    kv:    %s\n    redis: %s" % (session.title, step, shown(one), shown(other)))
    return wrong


def compare(size, *arguments):
    wrong = []
    with Redis() as redis, Kv(*arguments) as kv:
        for session in sessions():
            if size and not session.is_stream():
                continue
            try:
                wrong += differences(kv, redis, session, size)
            except (Failed, OSError) as why:
                wrong.append("%s: %s" % (session.title, why))
    need(not wrong, "%d differences\n%s" % (len(wrong), "\n".join(wrong)))


def one_shard():
    """one shard: every reply is that of redis-server"""
    compare(0, "--shards", "1")


def two_shards():
    """two shards: every reply is that of redis-server"""
    compare(0, "--shards", "2", "--io-loops", "2")


def four_shards():
    """four shards on loops of their own: every reply is that of redis-server"""
    compare(0, "--shards", "4", "--io-loops", "3", "--shard-loops", "own")


def in_one_write():
    """all commands of a session in one write: the same replies in the same order"""
    compare(1 << 30, "--shards", "2")


def byte_by_byte():
    """byte by byte: the same replies"""
    compare(1, "--shards", "2")


#
# What a script cannot say
#


def scanned(server, *options):
    """All that SCAN shows until it is through: it may show a key twice."""
    found = set()
    cursor = b"0"
    with Client(server.port) as client:
        while True:
            cursor, keys = elements(client.call("SCAN", cursor, *options))
            found.update(elements(keys))
            cursor = cursor.split(b"\r\n")[1]
            if cursor == b"0":
                return found


def scan():
    """SCAN shows the same keys, with any number of shards and all its options"""
    keys = [b"key:%d" % number for number in range(1000)] + [b"", b"\x00", b"a\r\nb", b"other"]
    with Redis() as redis:
        for shards in (1, 2, 4):
            with Kv("--shards", shards) as kv:
                for server in (redis, kv):
                    need(ask(server, "MSET", *[word for key in keys for word in (key, "x")]) == b"+OK\r\n", "MSET")
                for options in ((), ("COUNT", 1), ("COUNT", 1000), ("COUNT", "9223372036854775807"), ("MATCH", "key:1*"), ("MATCH", "nosuch"),
                                ("TYPE", "string"), ("TYPE", "list"), ("TYPE", "nosuch"), ("match", "*:99?", "count", 50, "type", "STRING")):
                    need(scanned(kv, *options) == scanned(redis, *options), "%d shards, %s" % (shards, options))


def unordered():
    """lists of names that have no order are the same: PUBSUB CHANNELS, and leaving all of them"""
    names = [b"n%d" % number for number in range(20)]
    with Redis() as redis, Kv() as kv:
        shown_by = []
        for server in (redis, kv):
            with Client(server.port) as client:
                subscribed = [client.call("SUBSCRIBE", *names)] + [client.reply() for _ in names[1:]]
                channels = sorted(elements(ask(server, "PUBSUB", "CHANNELS")))
                some = sorted(elements(ask(server, "PUBSUB", "CHANNELS", "n1?")))
                left = [client.call("UNSUBSCRIBE")] + [client.reply() for _ in names[1:]]
                counts = [reply.split(b"\r\n")[-2] for reply in left]
                shown_by.append((subscribed, channels, some, sorted(elements(reply)[1] for reply in left), counts))
        need(shown_by[0] == shown_by[1], "%r is not %r" % (shown_by[1], shown_by[0]))


def shutdown():
    """SHUTDOWN has no reply, and the code is 0"""
    for words in (["SHUTDOWN"], ["shutdown", "nosave"], ["SHUTDOWN", "SAVE"]):
        for kind in (Redis, Kv):
            with kind() as server, Client(server.port) as client:
                client.send(encoded(*words))
                need(client.rest() == b"", "%s: a reply" % words)
                need(server.wait() == 0, "%s: the code" % words)


def names_of(reply):
    """The names and arities of COMMAND."""
    parts = (elements(command) for command in elements(reply))
    return {part[0].split(b"\r\n")[1]: part[1] for part in parts}


def fewer_commands():
    """commands that are there take as many arguments as with Redis, all others are unknown ones"""
    with Redis() as redis, Kv() as kv, Client(kv.port) as client:
        theirs = names_of(ask(redis, "COMMAND"))
        ours = names_of(ask(kv, "COMMAND"))
        need(len(ours) == int(ask(kv, "COMMAND", "COUNT")[1:]), "COMMAND COUNT")
        for name, arity in sorted(ours.items()):
            need(theirs.get(name) == arity, "%s: %s, not %s" % (name, arity, theirs.get(name)))
        for name in sorted(set(theirs) - set(ours)):
            got = client.call(name, "x")
            need(got == b"-ERR unknown command '%s', with args beginning with: 'x' \r\n" % name, "%s: %s" % (name, got))


# Titles in the README that are in no session, and where they are seen.
ELSEWHERE = {"several shards": "no reply tells", "SCAN": "scan()"}


def documented():
    """the README names all that is meant to be different, and nothing else"""
    with open(os.path.join(HERE, "..", "README.md"), encoding="utf-8") as readme:
        section = readme.read().split("## Not as with Redis\n")[1].split("\n## ")[0]
    said = set(re.findall(r"^- \*\*(.*?)\*\*", section, re.M))
    meant = {re.sub(" in an? .*", "", session.title.split(": ")[1]) for session in sessions()
             if session.title.startswith(MEANT)}
    unmarked = [session.title for session in sessions() if session.title.startswith(MEANT) != any(step.differs for step in session.steps)]
    need(not unmarked, "differences outside of what is meant, or none there: %s" % unmarked)
    need(said == meant | set(ELSEWHERE), "only in the README: %s; not there: %s"
         % (said - meant - set(ELSEWHERE), (meant | set(ELSEWHERE)) - said))


if redis_server() is None:
    skip("needs redis-server or redis-tools")
run(one_shard, two_shards, four_shards, in_one_write, byte_by_byte, scan, unordered, shutdown, fewer_commands, documented)
