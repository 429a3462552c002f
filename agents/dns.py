"""The DNS agent: Services, EndpointSlices and Pods become the zones that kube-dns pods answer from.

    Service, EndpointSlice, Pod --changed--> which of them are touched
                                                |  desired.named_*: now, and as written before
                                                v
                        render_change(before, now) --appended to--> cluster.zone        (each change)
                        render(all)                --renamed to---> cluster.zone        (at start, when the changes
                                                                        |     have grown longer than the whole,
                                                                        |     after a failure, on resync)
                                       a hostPath volume of every node  v
                                    netfns/dns_server.py in each kube-dns pod

Invariants: `written` is what the file holds, `size` its length; a file that somebody else has touched is
written whole again. Readers see the old text or the new, never a part (netfns/dns_files.py).

Source: CoreDNS's plugin kubernetes, which watches the API itself; here the text stands between, to be read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from agents import desired
from agents.agent import Agent, Obj
from controlplane.api import API
from controlplane.meta import Key, key_of
from netfns import dns
from netfns.dns import ClusterNames, NamedPod, NamedService

SETTLE, SETTLE_OF_A_POD = (
    0.02,
    0.0002,
)  # seconds: a burst of changes is one text, a large cluster's a longer one
SHORTEST = 64 * 1024  # bytes of changes that are never too many
AT_ONCE = 64  # services and pods whose change takes less time than handing it to a thread and back
Touched = tuple[str, Key]  # Service or Pod, and which
Names = dict[Touched, NamedService | NamedPod]


class DnsAgent(Agent):
    """Keeps the zones in `folder`. `servers` are the DNS service's cluster addresses, `ranges` those with reverse
    zones.
    """

    component = "dns"

    def __init__(
        self,
        api: API,
        folder: Path,
        servers: Sequence[str],
        ranges: Sequence[str],
        domain: str = "cluster.local",
    ) -> None:
        super().__init__(api, "", ["Service", "EndpointSlice", "Pod"], min_interval=self._settle)
        self.written: Names = {}
        self._path = folder / "cluster.zone"
        self._frame = ClusterNames(domain, tuple(servers), tuple(ranges))
        self._size = self._whole = 0  # bytes of the file now, and when it was last written whole
        self._touched: set[Touched] = set()
        self._rebuild = True
        self._slices = self.informers["EndpointSlice"].index(lambda obj: [desired.service_key(obj)])
        self.informers["Service"].on_change(lambda old, new: self._touch("Service", key_of(new or old or {})))
        self.informers["Pod"].on_change(self._pod_changed)
        self.informers["EndpointSlice"].on_change(self._slice_changed)

    def _settle(self, _: Hashable) -> float:
        return SETTLE + SETTLE_OF_A_POD * len(self.informers["Pod"].objects)

    def resync(self) -> None:
        """Write the zones whole again."""
        self._rebuild = True
        super().resync()

    async def reconcile(self) -> None:
        """Bring the file in line with what was touched, or with everything."""
        rebuild, self._rebuild = self._rebuild, False
        touched, self._touched = self._touched, set()
        if rebuild:
            touched = {(kind, key) for kind in ("Service", "Pod") for key in self.informers[kind].objects}
        try:
            await self._bring_in_line(touched, rebuild)
        except Exception:
            self._rebuild = True
            raise

    async def _bring_in_line(self, touched: set[Touched], rebuild: bool) -> None:
        now = {key: found for key in sorted(touched) if (found := self._translate(*key)) is not None}
        before = {} if rebuild else {key: self.written[key] for key in sorted(touched) if key in self.written}
        if rebuild:
            self.written.clear()
        for key in touched:
            self.written.pop(key, None)
        self.written.update(now)
        if rebuild or not await self._appended(before, now):
            await asyncio.to_thread(self._write_whole, self.written)

    async def _appended(self, before: Names, now: Names) -> bool:
        if len(before) + len(now) <= AT_ONCE:
            return self._append(before, now)
        return await asyncio.to_thread(self._append, before, now)

    def _append(self, before: Names, now: Names) -> bool:
        """Append what differs; False when the file must be written whole instead."""
        text = dns.render_change(self._names(before), self._names(now)).encode()
        if not text:
            return True
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        except FileNotFoundError:
            return False
        try:
            grown = self._size + len(text) - self._whole > max(self._whole, SHORTEST)
            if grown or os.fstat(descriptor).st_size != self._size:
                return False
            if os.write(descriptor, text) != len(text):
                return False
        finally:
            os.close(descriptor)
        self._size += len(text)
        return True

    def _write_whole(self, names: Names) -> None:
        text = dns.render(self._names(names))
        write_whole(self._path, text)
        self._size = self._whole = len(text.encode())

    def _names(self, found: Names) -> ClusterNames:
        values = [found[key] for key in sorted(found)]
        return replace(
            self._frame,
            services=tuple(value for value in values if isinstance(value, NamedService)),
            pods=tuple(value for value in values if isinstance(value, NamedPod)),
        )

    def _translate(self, kind: str, key: Key) -> NamedService | NamedPod | None:
        obj = self.informers[kind].objects.get(key)
        if obj is None:
            return None
        return (
            desired.named_pod(obj)
            if kind == "Pod"
            else desired.named_service(obj, self._slices[key].values())
        )

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        """Nearly all that happens to a pod makes no difference to its names."""
        before, after = (desired.named_pod(obj) if obj is not None else None for obj in (old, new))
        if before != after:
            self._touch("Pod", key_of(new or old or {}))

    def _slice_changed(self, old: Obj | None, new: Obj | None) -> None:
        for obj in (old, new):
            if obj is not None:
                self._touch("Service", desired.service_key(obj))

    def _touch(self, kind: str, key: Key) -> None:
        self._touched.add((kind, key))
        self.changed()


def write_whole(path: Path, text: str) -> None:
    """Put a file in place so that a reader sees the old text or the new, never a part."""
    beside = path.with_suffix(".new")
    beside.write_text(text)
    os.replace(beside, path)
