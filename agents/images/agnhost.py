"""agnhost, the one program behind nearly all of Kubernetes' network tests: its sub-commands.

Source: test/images/agnhost/README.md. What is not here says so and ends with status 1, so that a pod shows
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agents.images.flags import FlagError
from agents.images.process import SIGINT, SIGTERM, STDERR, write
from agents.images.standins import load

# Sub-commands with a file of their own, imported when asked for: `agnhost connect` must start fast.
_MODULES = {
    "connect": "agents.images.connect:main",
    "netexec": "agents.images.netexec:main",
    "porter": "agents.images.porter:main",
    "serve-hostname": "agents.images.serve_hostname:main",
}


def main(argv: Sequence[str]) -> int:
    """Run the sub-command argv[1]; without one, print the list of them."""
    name = argv[1] if len(argv) > 1 else "help"
    command = _COMMANDS.get(name)
    if command is None and name in _MODULES:
        command = load(_MODULES[name])
    if command is None:
        write(f'Error: unknown command "{name}" for "app": want one of {_names()}\n', STDERR)
        return 1
    try:
        return command(argv[1:])
    except FlagError as error:
        write(f"Error: {error}\n", STDERR)
        return 1


def pause(_argv: Sequence[str]) -> int:
    """Wait; SIGTERM ends it with status 2, SIGINT with 1, as the real one does."""
    from agents.images.pause import wait_for_end

    wait_for_end({SIGTERM: 2, SIGINT: 1}, "Paused\n")
    return 0


def dns_suffix(_argv: Sequence[str]) -> int:
    """Print the search list of /etc/resolv.conf, separated by commas."""
    lists = [words[1:] for words in _resolv_conf() if words[0] == "search"]
    write(",".join(lists[-1] if lists else []) + "\n")
    return 0


def dns_server_list(_argv: Sequence[str]) -> int:
    """Print the name servers of /etc/resolv.conf, separated by commas."""
    write(",".join(words[1] for words in _resolv_conf() if words[0] == "nameserver") + "\n")
    return 0


def etc_hosts(_argv: Sequence[str]) -> int:
    """Print /etc/hosts."""
    write(Path("/etc/hosts").read_text(encoding="utf-8") + "\n")
    return 0


def entrypoint_tester(argv: Sequence[str]) -> int:
    """Print the arguments."""
    write(f"[{' '.join(['/agnhost', *argv])}]\n")
    return 0


def show_help(_argv: Sequence[str]) -> int:
    """Print the sub-commands."""
    write(f"Usage:\n  app [command]\n\nAvailable Commands: {_names()}\n")
    return 0


def _resolv_conf() -> list[list[str]]:
    lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
    return [words for words in map(str.split, lines) if len(words) > 1]


_COMMANDS: dict[str, Callable[[Sequence[str]], int]] = {
    "dns-server-list": dns_server_list,
    "dns-suffix": dns_suffix,
    "entrypoint-tester": entrypoint_tester,
    "etc-hosts": etc_hosts,
    "help": show_help,
    "--help": show_help,
    "pause": pause,
}


def _names() -> str:
    return ", ".join(sorted(name for name in (*_COMMANDS, *_MODULES) if not name.startswith("-")))
