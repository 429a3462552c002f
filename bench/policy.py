"""What NetworkPolicies cost: a pod's traffic under more and more of them, loading them, and one change.

Aims: 1,000 policies cost at most 10 % of throughput and 5 % of round-trip time and connection rate against none
(a linear list of 1,000 rules costs half); a change takes under 5 ms on a node, and as long at 1,000 as at 100.
"""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.support.common import Report, arguments, counts, in_sandbox, median, milliseconds
from bench.support.labs import deploy, pod_names, running_lab
from controlplane.client import Client
from labs.lab import Lab

INSIDE = "bench.support.policing"
POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
WORKERS, PODS, TURNS = 3, 500, 20
PORT, DEADLINE = 7777, 10.0


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument(
        "--counts", type=counts, default=[10, 100, 1000], help="policies beside none (default 10,100,1000)"
    )
    parser.add_argument("--pods", type=int, default=PODS, help=f"pods of the lab (default {PODS})")
    parser.set_defaults(repeat=60)  # short turns
    options = parser.parse_args()
    report = Report("policy")
    every = [0, *options.counts]
    found = in_sandbox(INSIDE, ",".join(map(str, every)), str(options.repeat + 1))
    report.table(
        "Two pods of one node, 500 pods in the cluster (of none; the median of turns that follow each other)",
        ["policies", "isolating the server", "throughput", "round trip", "connections/s", "p99 of a connect"],
        [traffic(found, count) for count in every],
    )
    report.table(
        "One node: everything loaded, and one change, from the object to the kernel's answer",
        [
            "policies",
            "gates",
            "full load",
            "a pod's label",
            "a policy more or less",
            "one with peers of its own",
        ],
        [loading(found["costs"][str(count)], count) for count in options.counts],
    )
    report.table(
        f"A lab of {WORKERS} workers and {options.pods} pods: from the PATCH to the first packet that obeys",
        ["policies", "label allows", "longest", "label denies", "longest"],
        [obeyed(count, options.pods) for count in options.counts if count >= 100],
    )
    if options.save:
        report.save()
    return 0


def traffic(found: dict[str, Any], count: int) -> list[str]:
    """The row of one count; ratios are medians of those within each turn."""
    turns = found["traffic"]

    def cell(name: str, text: str, *, rate: bool = False) -> str:
        pairs = [(turn[str(count)][name], turn["0"][name]) for turn in turns]
        ratio = median([none / with_ if rate else with_ / none for with_, none in pairs])
        return f"{text} ({ratio:.2f} x)"

    connects = sorted(seconds for turn in turns for seconds in turn[str(count)]["connects"])
    none = sorted(seconds for turn in turns for seconds in turn["0"]["connects"])
    p99, p99_of_none = (times[int(len(times) * 0.99)] for times in (connects, none))
    gigabits = [turn[str(count)]["throughput"] * 8e-9 for turn in turns]
    rates = [1 / turn[str(count)]["connect"] for turn in turns]
    return [
        str(count),
        f"{found['costs'][str(count)]['isolating']:.0f}",
        cell("throughput", f"{median(gigabits):.1f} Gbit/s"),
        cell("round_trip", f"{median([turn[str(count)]['round_trip'] for turn in turns]) * 1e6:.1f} us"),
        cell("connect", f"{median(rates):.0f}", rate=True),
        f"{p99 * 1e6:.0f} us ({p99 / p99_of_none:.2f} x)",
    ]


def loading(found: dict[str, float], count: int) -> list[str]:
    """The row of one count."""
    return [
        str(count),
        f"{found['gates']:.0f}",
        *(milliseconds(found[name]) for name in ("load", "label", "policy", "newcomer")),
    ]


def obeyed(count: int, pods: int) -> list[str]:
    """In a lab: how long until a change of a pod's label is obeyed by packets to a pod that it may then reach."""
    with running_lab(WORKERS) as lab, lab.api() as client:
        for name, replicas in (("crowd", pods - 2), ("client", 1), ("server", 1)):
            deploy(lab, name, replicas, "pause")
        for number in range(count - 1):
            client.request("POST", POLICIES, crowd_policy(number))
        client.request("POST", POLICIES, policy("open", {"app": "server"}, {"allowed": "yes"}))
        [sender], [receiver] = pod_names(client, "client"), pod_names(client, "server")
        with packets(lab, client, sender, receiver) as arrives:
            times: dict[str, list[float]] = {"yes": [], "no": []}
            for turn in range(2 * TURNS):
                value = "no" if turn % 2 else "yes"
                begun = time.perf_counter()
                client.request(
                    "PATCH",
                    f"/api/v1/namespaces/default/pods/{sender}",
                    {"metadata": {"labels": {"allowed": value}}},
                    content_type="application/merge-patch+json",
                )
                while arrives() != (value == "yes"):
                    if time.perf_counter() - begun > DEADLINE:
                        raise TimeoutError(f"allowed={value} is not obeyed after {DEADLINE:.0f} s")
                times[value].append(time.perf_counter() - begun)
    row = [str(count)]
    for value in ("yes", "no"):
        row += [milliseconds(median(times[value])), milliseconds(max(times[value]))]
    return row


@contextmanager
def packets(lab: Lab, client: Client, sender: str, receiver: str) -> Iterator[Any]:
    """A function that sends a datagram of a new flow and tells whether it arrived."""
    address = client.request("GET", f"/api/v1/namespaces/default/pods/{receiver}")["status"]["podIP"]
    with lab.socket(f"pod/{receiver}", socket.AF_INET, socket.SOCK_DGRAM) as listening:
        listening.bind((address, PORT))
        listening.settimeout(0.002)
        with lab.socket(f"pod/{sender}", socket.AF_INET, socket.SOCK_DGRAM) as calling:

            def arrives() -> bool:
                # Nobody answers, so the flow stays new to the kernel: each datagram is judged.
                calling.sendto(b"?", (address, PORT))
                try:
                    return bool(listening.recv(10))
                except TimeoutError:
                    return False

            yield arrives


def policy(name: str, pods: dict[str, str], peers: dict[str, str]) -> dict[str, Any]:
    """A NetworkPolicy: these pods, by their labels, may be reached by those."""
    rule = {"from": [{"podSelector": {"matchLabels": peers}}]}
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name},
        "spec": {"podSelector": {"matchLabels": pods}, "ingress": [rule]},
    }


def crowd_policy(number: int) -> dict[str, Any]:
    """One of many: every tenth isolates the whole crowd, the others nobody who is there."""
    pods = {"app": "crowd"} if number % 10 == 0 else {"app": f"app-{number}"}
    return policy(f"policy-{number}", pods, {"app": f"app-{number % 50}"})


if __name__ == "__main__":
    raise SystemExit(main())
