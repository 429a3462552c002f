"""agnhost, the one program behind nearly all of Kubernetes' network tests: its sub-commands.

Source: test/images/agnhost/README.md. What is not here says so and ends with status 1, so that a pod shows
it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agents.images.flags import FlagError
from agents.images.process import SIGINT, SIGTERM, STDERR, write
from agents.images.standins import load

# Imported when asked for: `agnhost connect` must start fast.
COMMANDS = {
    "connect": "agents.images.connect:main",
    "dns-server-list": "agents.images.agnhost_files:dns_server_list",
    "dns-suffix": "agents.images.agnhost_files:dns_suffix",
    "entrypoint-tester": "agents.images.agnhost_files:entrypoint_tester",
    "etc-hosts": "agents.images.agnhost_files:etc_hosts",
    "guestbook": "agents.images.guestbook:main",
    "help": "agents.images.agnhost:show_help",
    "netexec": "agents.images.netexec:main",
    "pause": "agents.images.agnhost:pause",
    "porter": "agents.images.porter:main",
    "serve-hostname": "agents.images.serve_hostname:main",
    "tcp-reset": "agents.images.tcp_reset:main",
    "test-webserver": "agents.images.agnhost_files:test_webserver",
}


def main(argv: Sequence[str]) -> int:
    """Run the sub-command argv[1]; without one, print the list of them."""
    name = argv[1].removeprefix("--") if len(argv) > 1 else "help"
    if name not in COMMANDS:
        write(f'Error: unknown command "{name}" for "app": want one of {", ".join(COMMANDS)}\n', STDERR)
        return 1
    try:
        return load(COMMANDS[name])(argv[1:])
    except FlagError as error:
        write(f"Error: {error}\n", STDERR)
        return 1


def pause(_argv: Sequence[str]) -> int:
    """Wait; SIGTERM ends it with status 2, SIGINT with 1, as the real one does."""
    from agents.images.pause import wait_for_end

    wait_for_end({SIGTERM: 2, SIGINT: 1}, "Paused\n")
    return 0


def show_help(_argv: Sequence[str]) -> int:
    """Print the sub-commands."""
    write(f"Usage:\n  app [command]\n\nAvailable Commands: {', '.join(COMMANDS)}\n")
    return 0
