"""agnhost's sub-commands that show a container's own files. Source: test/images/agnhost/README.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from agents.images import static_files
from agents.images.flags import Flags, Value
from agents.images.http_message import REASONS, Request, Response, text_response
from agents.images.process import write
from agents.images.serve import ENDS_AS_GO, run_http

WEBSERVER_FLAGS: dict[str, Value] = {"port": 80}


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


def test_webserver(argv: Sequence[str]) -> int:
    """Serve every file of the container over HTTP, by its path."""

    def answer(request: Request) -> Response:
        try:
            return static_files.serve("/", request, request.path)
        except static_files.Problem as problem:
            response = text_response(f"{problem.status} {REASONS[problem.status]}\n", problem.status)
            if problem.status == 301:
                response.headers.append(("Location", problem.location))
            return response

    return run_http(Flags(argv[1:], WEBSERVER_FLAGS).number("port"), answer, ENDS_AS_GO)


def _resolv_conf() -> list[list[str]]:
    lines = Path("/etc/resolv.conf").read_text(encoding="utf-8").splitlines()
    return [words for words in map(str.split, lines) if len(words) > 1]
