"""What every namespace has from the moment it is there: the service account `default`, and the certificate by which its
pods know the API server.

At once, and not by a controller a moment later: a pod that is created right after its namespace needs both.

Source: Kubernetes documentation "Service Accounts", "Certificates and Certificate Signing Requests" (kube-root-ca.crt).
"""

from __future__ import annotations

from controlplane.api import API
from controlplane.meta import Obj
from controlplane.pod_admission import ROOT_CA


class NamespaceGifts:
    """The admitter of the kind Namespace. `root_ca`: the certificate, PEM; "" for none."""

    def __init__(self, api: API, root_ca: str = "") -> None:
        self._api = api
        self._root_ca = root_ca

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """Every namespace is welcome."""
        return new

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """A new namespace, or one that a lab goes on with, gets what it lacks."""
        if old is None and new is not None and "deletionTimestamp" not in new["metadata"]:
            self.give(new["metadata"]["name"])

    def give(self, namespace: str) -> None:
        """Make what is missing, and the certificate what it is now: a lab that goes on has another one than before."""
        if self._api.find("ServiceAccount", "default", namespace) is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
            self._api.create(account, namespace)
        if not self._root_ca:
            return
        data = {"ca.crt": self._root_ca}
        found = self._api.find("ConfigMap", ROOT_CA, namespace)
        if found is None:
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ROOT_CA}, "data": data}
            self._api.create(made, namespace)
        elif found.get("data") != data:
            self._api.patch("ConfigMap", ROOT_CA, namespace, {"data": data})
