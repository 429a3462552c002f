"""The `minipod` command: its words, and what each of them calls.

Exit codes: 0 done, 1 the check failed, 2 bad usage or input. A mistake is told in one line (`-v` shows where it was
noticed).
"""

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from labs.errors import CheckFailed, LabError
from netfns import PROXY_MODES


@dataclass(frozen=True)
class Argument:
    """One argument: the words and the options of `add_argument`."""

    words: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)


def argument(*words: str, **options: Any) -> Argument:
    """An `Argument`, written as `add_argument` takes it."""
    return Argument(words, options)


@dataclass(frozen=True)
class Command:
    """One word of `minipod`: the function that does it ("module:function"), a help line, an example, arguments.

    passes: every word that follows is another program's, whatever it looks like.
    """

    function: str
    help: str
    example: str
    arguments: tuple[Argument, ...] = ()
    passes: bool = False


OUTPUT = argument(
    "-o", "--output", choices=("table", "json"), default="table", help="table (default) or json"
)
MACHINE = argument(
    "machine", metavar="MACHINE", help="node/NAME, lb/NAME, vm/NAME, outside, router or pod/NAME[.NAMESPACE]"
)
CONTAINER = argument("-c", "--container", default="", help="a container of the pod; default: the first")

COMMANDS: dict[str, Command] = {
    "up": Command(
        "lifecycle:up",
        "start a lab; returns when all is Ready",
        "minipod up --workers 3",
        (
            argument("-f", "--file", help="a cluster file"),
            argument("--workers", type=int, help="worker nodes (2)"),
            argument("--cni", help="the pod network (flannel)"),
            argument("--proxy-mode", help=f"how services are translated: {', '.join(PROXY_MODES)}"),
            argument(
                "--netfn",
                action="append",
                default=[],
                metavar="SEAT=FILE",
                help="a student's file for a network function",
            ),
            argument("--resume", action="store_true", help="go on with the objects of the lab before"),
            argument(
                "--privileged", action="store_true", help="stay the host's root in the lab; never for grading"
            ),
            OUTPUT,
        ),
    ),
    "down": Command(
        "lifecycle:down",
        "end a lab, with all that is in it",
        "minipod down --name demo",
        (
            argument("--all", action="store_true", help="every running lab of yours"),
            argument("--purge", action="store_true", help="remove its folder too: journal, log, kubeconfig"),
        ),
    ),
    "ls": Command("lifecycle:ls", "list your labs", "minipod ls -o json", (OUTPUT,)),
    "status": Command("lifecycle:status", "a lab's machines, nodes and pods", "minipod status", (OUTPUT,)),
    "exec": Command(
        "access:exec_",
        "run a command on a machine or in a pod",
        "minipod exec node/worker1 -- ip route",
        (MACHINE, CONTAINER, argument("command", nargs="*", metavar="-- CMD …")),
    ),
    "shell": Command(
        "access:shell", "an interactive shell there", "minipod shell pod/web-1", (MACHINE, CONTAINER)
    ),
    "kubectl": Command(
        "kubectl:kubectl",
        "real kubectl on the lab; minipod's own --name stands before kubectl's words",
        "minipod kubectl --name demo get pods -o wide",
        (argument("command", nargs=argparse.REMAINDER, metavar="WORD…"),),
        passes=True,
    ),
    "kubeconfig": Command(
        "access:kubeconfig", "print the path of the lab's kubeconfig", "KUBECONFIG=$(minipod kubeconfig) k9s"
    ),
    "lab": Command(
        "lab:lab",
        "the course: list, start, check, hint, reset, solution, release",
        "minipod lab start 03-across-nodes; minipod lab check; minipod lab hint",
        (
            argument("action", choices=("list", "start", "check", "hint", "reset", "solution", "release")),
            argument(
                "lab", nargs="?", default="", help="such as 03-across-nodes, 03, or a hand-out's folder"
            ),
            argument("--check", default="", metavar="NAME", help="hint: of this check"),
            argument("--yes", action="store_true", help="solution: without an attempt"),
            argument("--to", default=".", metavar="FOLDER", help="release: where to write the folder"),
            argument("--archive", default="", metavar="FILE", help="release: write a .tar.gz instead"),
            OUTPUT,
        ),
    ),
    "netfn": Command(
        "netfn:netfn",
        "a student's file takes the seat of a network function",
        "minipod netfn service=./my_service.py; minipod netfn service=reference",
        (argument("assignments", nargs="+", metavar="SEAT=FILE", help="FILE: a path, or reference"), OUTPUT),
    ),
    "map": Command(
        "pictures:map_",
        "the topology of a lab as a picture",
        "minipod map -o svg >lab.svg",
        (
            argument(
                "-o",
                "--output",
                choices=("tree", "svg", "json"),
                default="tree",
                help="tree (default), svg or json",
            ),
        ),
    ),
    "notebook": Command(
        "pictures:notebook",
        "JupyterLab on the walkthroughs, for this machine's browser",
        "minipod notebook --port 8890",
        (
            argument("--port", type=int, default=8888, help="where it listens (8888)"),
            argument("--ip", default="", help="on which address (127.0.0.1, or $MINIPOD_NOTEBOOK_IP)"),
            argument("--folder", default="", help="open this folder instead"),
        ),
    ),
    "explain": Command(
        "explain:explain_",
        "one object at each arrow: manifest, record, text, kernel, packets, names",
        "minipod explain service/web.shop",
        (
            argument(
                "object", metavar="KIND/NAME", help="service, pod, node or networkpolicy; NAME[.NAMESPACE]"
            ),
            argument("-n", "--namespace", default="", help="the namespace; default: default"),
            argument("--node", default="", help="whose kernel is looked at; default: the pod's, or worker1"),
            argument("--full", action="store_true", help="the whole text, not only what the object owns"),
            OUTPUT,
        ),
    ),
    "policy": Command(
        "policy:policy",
        "what NetworkPolicies do: why a packet passes or not, who reaches whom, what is denied",
        "minipod policy why pod/web-1 service/db:5432; minipod policy matrix -n shop --port 80; minipod policy watch",
        (
            argument(
                "what", choices=("why", "matrix", "watch"), help="one packet, all pods, or denied packets"
            ),
            argument(
                "words",
                nargs="*",
                metavar="WORD",
                help="of why: SOURCE DESTINATION:PORT[/udp]; pod/NAME[.NAMESPACE], service/NAME, node/NAME, an address",
            ),
            argument(
                "-o", "--output", choices=("table", "json", "svg"), default="table", help="how it is printed"
            ),
            argument(
                "-n",
                "--namespace",
                action="append",
                default=[],
                help="of matrix; may be repeated; default: all",
            ),
            argument("--port", default="80", metavar="PORT[/PROTOCOL]", help="of matrix; default 80/tcp"),
            argument("-6", "--ipv6", action="store_true", help="by IPv6"),
            argument("--seconds", type=float, help="of watch: end after so many; default: when interrupted"),
        ),
    ),
    "grade": Command(
        "grade:grade",
        "grade submissions of a lab, each in a sandbox of its own; files, folders or archives",
        "minipod grade 06-cluster-ip submissions/ --out grades --jobs 4",
        (
            argument("lab", metavar="LAB", help="a lab's name, number or folder"),
            argument("path", nargs="+", metavar="PATH", help="a submission, or a folder of submissions"),
            argument("--out", default="grades", metavar="FOLDER", help="where the results go (grades)"),
            argument(
                "--jobs", type=int, default=0, metavar="N", help="so many at once (half of the processors)"
            ),
            argument("--resume", action="store_true", help="leave out what --out has already"),
            argument(
                "--results", default="", metavar="FILE", help="one submission: its results.json besides"
            ),
            argument(
                "-o",
                "--output",
                choices=("table", "json", "csv", "gradescope"),
                default="table",
                help="what is printed in the end: table (default), json, csv or gradescope",
            ),
        ),
    ),
    "check": Command(
        "check:check",
        "the four communication types, proven by packets",
        "minipod check -o json",
        (
            OUTPUT,
            argument(
                "-n", "--namespace", default="", help="prove it on what runs there; default: pods of its own"
            ),
            argument(
                "--only",
                action="append",
                default=[],
                metavar="CLAIM",
                help="only these rows; may be repeated",
            ),
        ),
    ),
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="minipod", description="A Kubernetes network that you can see, break and grade."
    )
    commands = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    for word, command in COMMANDS.items():
        sub = commands.add_parser(
            word, help=command.help, description=command.help, epilog=f"example: {command.example}"
        )
        for item in command.arguments:
            sub.add_argument(*item.words, **item.options)
        sub.add_argument("--name", help="which lab; default $MINIPOD_LAB, or lab")
        sub.add_argument("-v", "--verbose", action="store_true", help="show where an error was noticed")
    return parser


def _parse(words: list[str]) -> argparse.Namespace:
    """The arguments; what follows a `--` belongs to the command that is to be run, untouched."""
    if words and words[0] in COMMANDS and COMMANDS[words[0]].passes:
        return _pass(*words)
    at = words.index("--") if "--" in words else len(words)
    args = make_parser().parse_args(words[:at])
    if words[at + 1 :]:
        args.command = [*getattr(args, "command", ()), *words[at + 1 :]]
    return args


def _pass(word: str, *words: str) -> argparse.Namespace:
    """The arguments of a command whose words are another program's; a leading --name is still minipod's."""
    name = None
    if words and words[0] == "--name" and len(words) > 1:
        name, words = words[1], words[2:]
    elif words and words[0].startswith("--name="):
        name, words = words[0].removeprefix("--name="), words[1:]
    return argparse.Namespace(word=word, name=name, command=list(words), verbose=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    args = _parse(list(sys.argv[1:] if argv is None else argv))
    module, _, function = COMMANDS[args.word].function.partition(":")
    try:
        return int(getattr(importlib.import_module(f"labs.commands.{module}"), function)(args))
    except CheckFailed as failure:
        print(failure, file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (LabError, OSError) as error:
        if args.verbose:
            traceback.print_exc()
        print(f"minipod: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("minipod: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
