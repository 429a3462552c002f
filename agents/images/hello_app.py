"""hello-app, the server of the first tutorials. VERSION of the environment tells 1.0.0 from 2.0.0.

Source: quickstarts/hello-app of GoogleCloudPlatform/kubernetes-engine-samples.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from agents.images.http_message import Request, Response, text_response
from agents.images.process import hostname, log
from agents.images.serve import ENDS_AS_GO, run_http


def main(_argv: Sequence[str]) -> int:
    """Serve on $PORT, 8080 without it. Exit status 1 when that is taken."""
    version = os.environ.get("VERSION", "1.0.0")

    def answer(request: Request) -> Response:
        log(f"Serving request: {request.path}")
        return text_response(f"Hello, world!\nVersion: {version}\nHostname: {hostname()}\n")

    return run_http(int(os.environ.get("PORT", "8080")), answer, ENDS_AS_GO)
