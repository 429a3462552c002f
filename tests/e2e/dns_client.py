"""Runs in a pod: looks names up until standard input ends, and prints as JSON how that went. Sent to python3
there by dns_restart.py.

`waits`: the seconds of each lookup by the C library. `lost`: the moments of the questions that got no answer within a
second, of `asked` questions that came from the same few ports again and again: what connection tracking remembers of
a port decides where its next question goes.
"""

import itertools
import json
import socket
import sys
import threading
import time
from pathlib import Path

NAME = "kubernetes.default.svc.cluster.local"
LABELS = b"".join(bytes([len(label)]) + label.encode() for label in NAME.split("."))
QUESTION = b"\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + LABELS + b"\x00\x00\x01\x00\x01"
FIRST_PORT, PORTS, ASKING = 20000, 12, 4  # each of `ASKING` threads has as many ports
PAUSE = 0.01  # seconds between two questions of a thread
ended = threading.Event()
waits: list[float] = []
lost: list[float] = []
asked = itertools.count()


def look_up() -> None:
    while not ended.wait(PAUSE):
        begun = time.monotonic()
        socket.getaddrinfo(NAME, 443, type=socket.SOCK_STREAM)
        waits.append(time.monotonic() - begun)


def ask(first_port: int, server: str) -> None:
    for turn in itertools.count():
        if ended.wait(PAUSE):
            return
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.bind(("", first_port + turn % PORTS))
            client.connect((server, 53))
            client.settimeout(1.0)
            begun = time.time()
            try:
                client.send(turn.to_bytes(4)[2:] + QUESTION)
                client.recv(512)
            except OSError:
                lost.append(begun)
            next(asked)


def main() -> None:
    lines = Path("/etc/resolv.conf").read_text().splitlines()
    server = next(line.split()[1] for line in lines if line.startswith("nameserver"))
    threads = [threading.Thread(target=look_up)]
    threads += [threading.Thread(target=ask, args=(FIRST_PORT + n * PORTS, server)) for n in range(ASKING)]
    for thread in threads:
        thread.start()
    sys.stderr.write("asking\n")
    sys.stderr.flush()
    sys.stdin.read()
    ended.set()
    for thread in threads:
        thread.join()
    sys.stdout.write(json.dumps({"waits": waits, "lost": lost, "asked": next(asked)}))


main()
