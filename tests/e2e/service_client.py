"""A client that asks a Service again and again, on a machine of a lab. Sent to python3 there by test_services.py.

    python3 -c THIS http|udp ADDRESS PORT      asks until its standard input ends

Prints one line of JSON: [[second, answer], ...], an answer being the host name of whoever answered, or "!" and what
went wrong. Over UDP all packets are of one flow.
"""

import json
import socket
import sys
import threading
import time
import urllib.request

PAUSE = 0.005  # seconds between two questions


def http(address: str, port: int) -> str:
    with urllib.request.urlopen(f"http://{address}:{port}/hostname", timeout=2) as page:
        return str(page.read().decode())


def udp(flow: socket.socket) -> str:
    flow.send(b"hostname")
    return flow.recv(200).decode()


def main() -> None:
    kind, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    ended = threading.Event()

    def until_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=until_the_end, daemon=True).start()
    flow = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flow.connect((address, port))
    flow.settimeout(0.2)
    answers = []
    sys.stderr.write("asking\n")
    sys.stderr.flush()
    while not ended.wait(PAUSE):
        try:
            answer = udp(flow) if kind == "udp" else http(address, port)
        except OSError as error:
            answer = f"! {error}"
        answers.append([time.time(), answer.strip()])
    sys.stdout.write(json.dumps(answers))


main()
