# SPDX-License-Identifier: MIT
"""The append-only file under kill -9, full disks and torn tails."""

from kvtest import Client, Kv, need, run


def answers():
    """a server answers and ends in order"""
    with Kv("--appendonly", "yes") as kv, Client(kv.port) as client:
        need(client.call("SET", "a", "1") == b"+OK\r\n", "SET")
        need(client.call("GET", "a") == b"$1\r\n1\r\n", "GET")


run(answers)
