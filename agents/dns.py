"""The DNS agent: Services, EndpointSlices and Pods become the zones that kube-dns pods answer from.

    Service, EndpointSlice, Pod --desired.named_*--> ClusterNames --render--> cluster.zone in a folder
                                                                                | hostPath volume /etc/coredns
                                                                                v
                                                                     netfns/dns_server.py in each kube-dns pod

Invariant: the file is always whole: a new one is written beside it and renamed into its place. A server
notices by itself.

Source: CoreDNS's plugin kubernetes, which watches the API itself; here the text stands between, to be read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from agents import desired
from agents.agent import Agent
from controlplane.api import API
from controlplane.meta import Key
from netfns import dns
from netfns.dns import ClusterNames

SETTLE = 0.02  # seconds: a burst of changes is one text


class DnsAgent(Agent):
    """Keeps the zones in `folder`. `server` is the DNS service's cluster address, `ranges` those with
    reverse zones.
    """

    component = "dns"

    def __init__(
        self, api: API, folder: Path, server: str, ranges: Sequence[str], domain: str = "cluster.local"
    ) -> None:
        super().__init__(api, "", ["Service", "EndpointSlice", "Pod"], min_interval=SETTLE)
        self._path = folder / "cluster.zone"
        self._frame = ClusterNames(domain, server, tuple(ranges))
        self._written = ""
        self._slices = self.informers["EndpointSlice"].index(lambda obj: [desired.service_key(obj)])
        for informer in self.informers.values():
            informer.on_change(self.changed)

    def resync(self) -> None:
        """Write the zones again."""
        self._written = ""
        super().resync()

    async def reconcile(self) -> None:
        """Write the zones when their text is another."""
        names = self._names()
        text = await asyncio.to_thread(dns.render, names)
        if text == self._written:
            return
        self._written = text
        try:
            await asyncio.to_thread(write_whole, self._path, text)
        except OSError:
            self._written = ""
            raise

    def _names(self) -> ClusterNames:
        services = self.informers["Service"].objects
        pods = map(desired.named_pod, self.objects("Pod"))
        return replace(
            self._frame,
            services=tuple(
                desired.named_service(services[key], self._slices_of(key)) for key in sorted(services)
            ),
            pods=tuple(pod for pod in pods if pod is not None),
        )

    def _slices_of(self, key: Key) -> list[desired.Obj]:
        return list(self._slices[key].values())


def write_whole(path: Path, text: str) -> None:
    """Put a file in place so that a reader sees the old text or the new, never a part."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)
