"""The API: the meaning of create, read, update, patch, delete and watch, the same for every kind.

    create --> decode --> default --> admit --> validate --> store --> watches
    update --> decode --> keep what only the server may set --> default --> admit --> validate --> store --> …
    delete --> finalizers or a grace period left? mark it : remove it

Every method is synchronous and atomic: it happens wholly within one step of the event loop, or raises
StatusError and has changed nothing. The HTTP server (http.py) is a thin face of this class; controllers and
agents call it directly. Objects handed out are shared and must never be mutated.

Invariants: a stored object is always defaulted and valid; metadata.resourceVersion is the revision of its
last write; metadata.generation counts the changes of what is desired (spec), never those of status.

Source: Kubernetes API conventions; Kubernetes API concepts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from controlplane import deletion, errors
from controlplane.builtin_kinds import standard_kinds
from controlplane.doors import EPHEMERAL, merge_parts
from controlplane.errors import FieldErrors, bad_request, quote
from controlplane.events import EventRecorder
from controlplane.kinds import Kind, Kinds
from controlplane.managed import apply as managed
from controlplane.managed.owners import UPDATE, Owner
from controlplane.meta import Obj, is_true, with_condition
from controlplane.newborn import newborn_metadata
from controlplane.patch import merge
from controlplane.patching import MERGE_PATCH, apply_patch
from controlplane.schema.decode import Findings
from controlplane.schema.zero import with_zeros
from controlplane.selectors import predicate
from controlplane.store import Store, Watch
from controlplane.validation.ephemeral import validate as validate_ephemeral
from controlplane.validation.meta import validate_metadata

Objects = list[Obj]  # inside the class, `list` is the verb

ITSELF = "minipod"  # the field manager when the control plane writes


class Admitter(Protocol):
    """Decides what only the whole cluster can know, e.g. a Service's address. One for a kind."""

    def admit(self, new: Obj, old: Obj | None) -> Obj:
        """The object as it shall be stored. Must not change anything: the write may still fail. Raises
        StatusError.
        """

    def observe(self, old: Obj | None, new: Obj | None) -> None:
        """The write has happened."""


class API:
    """See the head of this file. `warn`, when given to a write, is told of dropped unknown fields instead of
    an error.
    """

    def __init__(self, store: Store | None = None, kinds: Kinds | None = None) -> None:
        self.store = store or Store()
        self.kinds = kinds or standard_kinds()
        self._admitters: dict[str, Admitter] = {}
        self._recorder = EventRecorder(self.store)

    def admit_with(self, kind: str, admitter: Admitter) -> None:
        """`admitter` takes part in every write of `kind` from now on; of what is there already it is told."""
        self._admitters[kind] = admitter
        for obj in tuple(self.store.objects(kind)):
            admitter.observe(None, obj)

    # reading

    def get(self, kind: str, name: str, namespace: str = "") -> Obj:
        """The object. Raises StatusError 404."""
        row = self.kinds.get(kind)
        obj = self.store.get(row.key, namespace, name)
        if obj is None:
            raise errors.not_found(row.plural, row.group, name)
        return obj

    def find(self, kind: str, name: str, namespace: str = "") -> Obj | None:
        """The object, or None."""
        return self.store.get(self.kinds.get(kind).key, namespace, name)

    def list(
        self, kind: str, namespace: str = "", *, label_selector: str = "", field_selector: str = ""
    ) -> tuple[Objects, int]:
        """The objects in order of namespace and name, and the revision of this picture. Raises StatusError
        400, 404.
        """
        row = self.kinds.get(kind)
        matches = predicate(label_selector, field_selector, row.selectable_fields)
        items = [obj for obj in self.store.objects(row.key, namespace) if matches is None or matches(obj)]
        items.sort(key=lambda obj: (obj["metadata"].get("namespace", ""), obj["metadata"]["name"]))
        return items, self.store.revision

    def watch(
        self,
        kind: str,
        namespace: str = "",
        *,
        since: int,
        label_selector: str = "",
        field_selector: str = "",
    ) -> Watch:
        """All changes after revision `since`, as an asynchronous iterator of Event(type, object). Raises
        StatusError 400, 404, 410 (history no longer reaches back) and 504 (the revision lies in the future).
        """
        row = self.kinds.get(kind)
        matches = predicate(label_selector, field_selector, row.selectable_fields)
        return self.store.watch(row.key, namespace, since, matches)

    # writing

    def create(
        self,
        obj: Obj,
        namespace: str = "",
        *,
        dry_run: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> Obj:
        """The object as stored. Its namespace is its own, or `namespace`, or `default`. Raises StatusError
        400, 403, 404, 409, 422.
        """
        kind = self.kinds.of(obj)
        obj = self._decode(kind, obj, warn)
        metadata = newborn_metadata(self.store, kind, obj.get("metadata") or {}, namespace)
        obj = {**obj, "metadata": metadata}
        if kind.initial_status is not None and kind.has_status:
            obj["status"] = kind.initial_status(obj)
        elif "status" in obj:
            obj["status"] = with_zeros(obj["status"], kind.status_schema)
        obj = self._admit(kind, kind.default(obj), None)
        self._validate(kind, obj, None)
        if self.store.get(kind.key, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise errors.already_exists(kind.plural, kind.group, metadata["name"])
        return obj if dry_run else self._commit(kind, obj, None)

    def replace(
        self,
        obj: Obj,
        *,
        subresource: str = "",
        dry_run: bool = False,
        warn: Callable[[str], None] | None = None,
        manager: str = ITSELF,
    ) -> Obj:
        """The object as stored; a replacement that changes nothing writes nothing. Optimistic when
        metadata.resourceVersion is given. Raises StatusError 400, 404, 409, 422.
        """
        kind = self.kinds.of(obj)
        obj = self._decode(kind, obj, warn)
        metadata = obj.get("metadata") or {}
        current = self.get(kind.key, metadata.get("name", ""), metadata.get("namespace", ""))
        return self._update(kind, current, obj, managed.updater(manager, subresource), dry_run)

    def patch(
        self,
        kind: str,
        name: str,
        namespace: str,
        patch: Any,
        content_type: str = MERGE_PATCH,
        subresource: str = "",
        *,
        dry_run: bool = False,
        warn: Callable[[str], None] | None = None,
        manager: str = ITSELF,
    ) -> Obj:
        """The object as stored. `patch` is a mapping (merge and strategic merge patch) or a list of
        operations (JSON patch). Raises StatusError 400, 404, 409, 415, 422.
        """
        row = self.kinds.get(kind)
        current = self.get(kind, name, namespace)
        patched = apply_patch(current, patch, content_type, row.definition)
        if self.kinds.of(patched) is not row:
            raise bad_request("a patch must not change apiVersion or kind")
        patched = self._decode(row, patched, warn)
        if (patched.get("metadata") or {}).get("name") != name:
            raise bad_request(f"the name of the object does not match the name on the URL ({name})")
        return self._update(row, current, patched, managed.updater(manager, subresource), dry_run)

    def apply(
        self,
        config: Obj,
        manager: str,
        *,
        force: bool = False,
        subresource: str = "",
        dry_run: bool = False,
        warn: Callable[[str], None] | None = None,
    ) -> Obj:
        """Server-side apply: the object as stored, in which `manager` owns what `config` names. Raises StatusError
        400, 404, 422, and 409 with the conflicts unless `force` takes the fields.
        """
        kind = self.kinds.of(config)
        config = self._decode(kind, config, warn)
        metadata = config.get("metadata") or {}
        if metadata.get("managedFields"):
            raise bad_request("metadata.managedFields must be nil")
        if subresource == "status":
            config = {name: part for name, part in config.items() if name != "spec"}
        live = self.find(kind.key, metadata.get("name", ""), metadata.get("namespace", ""))
        writer = managed.applier(manager, subresource)
        wanted = managed.apply(live, config, kind.schema, writer, force=force)
        if live is not None:
            return self._update(kind, live, wanted, writer, dry_run)
        if subresource or metadata.get("uid"):
            raise errors.not_found(kind.plural, kind.group, metadata.get("name", ""))
        return self.create(wanted, dry_run=dry_run, warn=warn)

    def update_status(self, kind: str, name: str, namespace: str, status: Obj) -> Obj:
        """Merges `status` into the object's status; a no-op writes nothing. Raises StatusError 404, 400."""
        row = self.kinds.get(kind)
        current = self.get(kind, name, namespace)
        old = current.get("status") or {}
        new = merge(old, status)
        if new is old:
            return current
        self._decode(row, {"status": new}, None)
        return self._commit(row, {**current, "metadata": dict(current["metadata"]), "status": new}, current)

    def bind(self, name: str, namespace: str, node: str) -> Obj:
        """What the scheduler decides: the pod runs on `node`. Raises StatusError 404, and 409 when it already
        has a node.
        """
        pod = self.get("Pod", name, namespace)
        if pod["spec"].get("nodeName"):
            why = f"pod {name} is already assigned to node {quote(pod['spec']['nodeName'])}"
            raise errors.conflict("pods/binding", "", name, why)
        if "deletionTimestamp" in pod["metadata"]:
            raise errors.conflict(
                "pods/binding", "", name, f"pod {name} is being deleted, cannot be assigned to a host"
            )
        status = pod["status"]
        if not is_true(pod, "PodScheduled"):
            status = {
                **status,
                "conditions": with_condition(status.get("conditions"), "PodScheduled", "True"),
            }
        bound = {
            **pod,
            "metadata": dict(pod["metadata"]),
            "spec": {**pod["spec"], "nodeName": node},
            "status": status,
        }
        return self._commit(self.kinds.get("Pod"), bound, pod)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str = "",
        *,
        grace_period: int | None = None,
        propagation: str = "Background",
        uid: str = "",
        resource_version: str = "",
        dry_run: bool = False,
    ) -> Obj:
        """Removes the object, or marks it with metadata.deletionTimestamp when a finalizer or a grace period
        (seconds) holds it. Returns the last state. Raises StatusError 404, and 409 when it is not the one
        meant by `uid` or `resource_version`.
        """
        row = self.kinds.get(kind)
        current = self.get(kind, name, namespace)
        _check_preconditions(row, current, uid, resource_version)
        marked = deletion.mark(row.name, current, grace_period, propagation)
        if marked is None or deletion.is_over(marked):
            return current if dry_run else self._remove(row, current)
        if marked is current or dry_run:
            return marked
        return self._commit(row, marked, current)

    def event(
        self,
        involved: Obj,
        reason: str,
        message: str,
        *,
        type: str = "Normal",  # noqa: A002 - the field's own name in the Event object
        component: str,
        host: str = "",
    ) -> None:
        """Records an Event about an object; the same event again counts up the first. Never raises."""
        self._recorder.record(involved, reason, message, kind=type, component=component, host=host)

    # the steps of a write

    def _decode(self, kind: Kind, obj: Obj, warn: Callable[[str], None] | None) -> Obj:
        findings = Findings()
        decoded: Obj = kind.shape.decode(obj, None, findings)
        if findings.wrong:
            first = findings.wrong[0]
            where = f'{kind.name} in version "{kind.version}" cannot be handled as a {kind.name}'
            raise bad_request(f"{where}: {first.message}", findings.wrong)
        if findings.unknown:
            self._report_unknown(findings, warn)
        return decoded

    @staticmethod
    def _report_unknown(findings: Findings, warn: Callable[[str], None] | None) -> None:
        texts = [f'unknown field "{field}"' for field in findings.unknown]
        if warn is None:
            hints = {field: f': did you mean "{hint}"?' for field, hint in findings.hints.items()}
            causes = [
                errors.FieldError("FieldValueNotSupported", field, f"unknown field{hints.get(field, '')}")
                for field in findings.unknown
            ]
            raise bad_request(f"strict decoding error: {', '.join(texts)}", causes)
        for text in texts:
            warn(text)

    def _update(self, kind: Kind, current: Obj, wanted: Obj, writer: Owner, dry_run: bool) -> Obj:
        subresource = writer.subresource
        given = wanted.get("metadata") or {}
        _check_preconditions(kind, current, given.get("uid", ""), given.get("resourceVersion", ""))
        new = merge_parts(kind, current, wanted, subresource)
        if not subresource:
            new = self._admit(kind, kind.default(new), current)
            self._validate(kind, new, current)
        elif subresource == "status" and kind.validates_status:
            self._validate(kind, new, current)
        elif subresource == EPHEMERAL:
            new = kind.default(new)
            self._check(kind, new, lambda found: validate_ephemeral(new, current, found))
        metadata = new["metadata"]
        if writer.operation == UPDATE:
            managed.track(current, new, kind.schema, writer)
        elif subresource:
            metadata["managedFields"] = given["managedFields"]
        if kind.counts_generations and new.get("spec") != current.get("spec"):
            metadata["generation"] = current["metadata"].get("generation", 0) + 1
        if new == current or dry_run:
            return current if new == current else new
        if deletion.is_over(new):
            return self._remove(kind, current)
        return self._commit(kind, new, current)

    def _admit(self, kind: Kind, obj: Obj, old: Obj | None) -> Obj:
        admitter = self._admitters.get(kind.key)
        return obj if admitter is None else admitter.admit(obj, old)

    @staticmethod
    def _validate(kind: Kind, new: Obj, old: Obj | None) -> None:
        def validate(found: FieldErrors) -> None:
            validate_metadata(new["metadata"], kind.namespaced, kind.check_name, found)
            kind.validate(new, old, found)

        API._check(kind, new, validate)

    @staticmethod
    def _check(kind: Kind, new: Obj, validate: Callable[[FieldErrors], None]) -> None:
        found = FieldErrors()
        validate(found)
        if found:
            raise errors.invalid(kind.name, kind.group, new["metadata"]["name"], found.items)

    def _commit(self, kind: Kind, new: Obj, old: Obj | None) -> Obj:
        stored = self.store.put(kind.key, new)
        admitter = self._admitters.get(kind.key)
        if admitter is not None:
            admitter.observe(old, stored)
        return stored

    def _remove(self, kind: Kind, old: Obj) -> Obj:
        metadata = old["metadata"]
        last = self.store.remove(kind.key, metadata.get("namespace", ""), metadata["name"])
        admitter = self._admitters.get(kind.key)
        if admitter is not None:
            admitter.observe(old, None)
        return last


def _check_preconditions(kind: Kind, current: Obj, uid: str, resource_version: str) -> None:
    metadata = current["metadata"]
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise errors.conflict(kind.plural, kind.group, metadata["name"], why)
    if resource_version and resource_version != metadata["resourceVersion"]:
        raise errors.conflict(kind.plural, kind.group, metadata["name"], errors.MODIFIED)
