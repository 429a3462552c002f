"""How a pod speaks to the API server: the files of its service account.

    /var/run/secrets/kubernetes.io/serviceaccount/token      who the pod is: a token signed by the API server
                                                  ca.crt     by whom the server's own certificate is signed
                                                  namespace  where the pod is

All pods of a service account are shown the same directory, written when the first of them starts, and again when the
token has lived most of its life: a pod costs a bind mount, no files.

Source: Kubernetes documentation "Configure Service Accounts for Pods", "Accessing the API from a Pod".
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from controlplane.pod_admission import ACCESS_SECONDS

Sign = Callable[[str, str, int, str], str]  # namespace, account, seconds, audience -> token
FOLDER = Path("/run/minipod/service-accounts")
RENEW_AFTER = 0.8  # of a token's life


class ServiceAccounts:
    """Tokens and directories of the service accounts whose pods run; one for all kubelets of a lab."""

    def __init__(self, root_ca: str, sign: Sign, folder: Path = FOLDER) -> None:
        self._root_ca, self._sign, self._folder = root_ca, sign, folder
        self._tokens: dict[tuple[str, str, int, str], tuple[str, float]] = {}  # -> token, when to renew
        self._written: dict[tuple[str, str], str] = {}

    def token(self, namespace: str, account: str, seconds: int = ACCESS_SECONDS, audience: str = "") -> str:
        """A token that is good for a while yet."""
        key = (namespace, account, seconds, audience)
        token, until = self._tokens.get(key, ("", 0.0))
        if time.monotonic() >= until:
            token = self._sign(namespace, account, seconds, audience)
            self._tokens[key] = token, time.monotonic() + RENEW_AFTER * seconds
        return token

    def directory(self, namespace: str, account: str) -> Path:
        """The directory with the three files. Raises OSError."""
        folder = self._folder / namespace / account
        token = self.token(namespace, account)
        if self._written.get((namespace, account)) != token:
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in (("token", token), ("ca.crt", self._root_ca), ("namespace", namespace)):
                new = folder / f"..{name}"
                new.write_text(text)
                os.replace(new, folder / name)
            self._written[namespace, account] = token
        return folder

    def refresh(self) -> None:
        """Write the tokens that are due. Raises OSError."""
        for namespace, account in tuple(self._written):
            self.directory(namespace, account)
