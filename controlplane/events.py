"""Events: the story of an object, told by those who act on it.

The same event (same object, reason, message, component) is one Event object whose count goes up, so that a
loop that fails every second does not fill the store. Old ones are forgotten after an hour, as in Kubernetes,
and at most LIMIT are kept.

Source: Kubernetes API reference, Event v1 core; client-go tools/record (correlation).
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections import OrderedDict
from typing import NamedTuple

from controlplane.errors import StatusError
from controlplane.meta import Key, Obj, key_of, new_uid, now, reference_to
from controlplane.store import Store

LIMIT = 4096
LIFETIME = 3600.0  # seconds

log = logging.getLogger(__name__)


class _Same(NamedTuple):
    """What makes two events one."""

    uid: str
    name: str
    reason: str
    message: str
    kind: str
    component: str
    host: str


class EventRecorder:
    """Writes Event objects straight into the store: they are made here, so they need no validation."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: OrderedDict[_Same, tuple[Key, float]] = OrderedDict()  # oldest first
        for event in sorted(store.objects("Event"), key=lambda event: str(event.get("lastTimestamp"))):
            self._known[_same_of(event)] = key_of(event), time.monotonic()

    def record(
        self, involved: Obj, reason: str, message: str, *, kind: str, component: str, host: str
    ) -> None:
        """One more occurrence; what happens in a namespace that is gone is nobody's story any more."""
        metadata = involved["metadata"]
        if self._store.get("Namespace", "", metadata.get("namespace") or "default") is None:
            return
        same = _Same(metadata.get("uid", ""), metadata["name"], reason, message, kind, component, host)
        known = self._known.get(same)
        earlier = self._store.get("Event", *known[0]) if known else None
        if earlier is not None:
            event = {
                **earlier,
                "metadata": dict(earlier["metadata"]),
                "count": earlier["count"] + 1,
                "lastTimestamp": now(),
            }
        else:
            event = _new_event(involved, same)
        try:
            self._store.put("Event", event)
        except StatusError as error:
            log.warning("no room for an event: %s: %s", reason, error)
            return
        key = event["metadata"]["namespace"], event["metadata"]["name"]
        self._known[same] = key, time.monotonic()
        self._known.move_to_end(same)
        self._forget_old()

    def _forget_old(self) -> None:
        horizon = time.monotonic() - LIFETIME
        while self._known:
            same, (key, last_seen) = next(iter(self._known.items()))
            if last_seen > horizon and len(self._known) <= LIMIT:
                return
            del self._known[same]
            if self._store.get("Event", *key) is not None:
                with contextlib.suppress(StatusError):  # the journal is full: it stays a while longer
                    self._store.remove("Event", *key)


def _same_of(event: Obj) -> _Same:
    """What a stored event is the same as."""
    involved, source = event.get("involvedObject") or {}, event.get("source") or {}
    about = involved.get("uid", ""), involved.get("name", "")
    said = event.get("reason", ""), event.get("message", ""), event.get("type", "")
    return _Same(*about, *said, source.get("component", ""), source.get("host", ""))


def _new_event(involved: Obj, same: _Same) -> Obj:
    stamp = now()
    uid = new_uid()
    source = {"component": same.component, "host": same.host} if same.host else {"component": same.component}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{same.name}.{uid[:8]}{uid[9:13]}",
            "namespace": involved["metadata"].get("namespace") or "default",
            "uid": uid,
            "creationTimestamp": stamp,
        },
        "involvedObject": reference_to(involved),
        "reason": same.reason,
        "message": same.message,
        "type": same.kind,
        "source": source,
        "firstTimestamp": stamp,
        "lastTimestamp": stamp,
        "count": 1,
        "reportingComponent": same.component,
        "reportingInstance": same.host,
    }
