"""The table of kinds: everything that the API server knows about a kind is in its row. A new kind is a new
row; those that every cluster has are in builtin_kinds/.

What the server does with an object is the same for all kinds (api.py); what differs is here, as data and as
hooks:

- `default`  fills in what the author left out (a new object; the old one stays as it is);
- `validate` holds the defaulted object (and, on an update, the old one) against Kubernetes' rules;
- `initial_status` is the status of a newborn; None means that the creator may bring one.

Source: the API reference of Kubernetes 1.37; `kubectl api-resources -o wide`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from controlplane.columns import Column, columns_of
from controlplane.errors import FieldErrors, StatusError, bad_request, quote
from controlplane.meta import Obj
from controlplane.schema.decode import Shape, definitions, shape
from controlplane.validation.meta import NameCheck, subdomain_name

Default = Callable[[Obj], Obj]
Validate = Callable[[Obj, Obj | None, FieldErrors], None]

STATUS = frozenset({"status"})
METADATA_FIELDS = frozenset({"metadata.name", "metadata.namespace"})


def _as_it_is(obj: Obj) -> Obj:
    return obj


def _anything_goes(new: Obj, old: Obj | None, errors: FieldErrors) -> None:
    return None


def _empty_status(obj: Obj) -> Obj:
    return {}


@dataclass(frozen=True)
class Kind:
    """One row. `definition` names the published schema."""

    name: str
    plural: str
    definition: str
    group: str = ""
    version: str = "v1"
    namespaced: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    selectable: frozenset[str] = frozenset()
    default: Default = _as_it_is
    validate: Validate = _anything_goes
    check_name: NameCheck = subdomain_name
    initial_status: Callable[[Obj], Obj] | None = _empty_status
    counts_generations: bool = False
    validates_status: bool = (
        False  # whether `validate` also holds what is written as status against the rules
    )
    scale_paths: tuple[str, str, str] = (
        ".spec.replicas",
        ".status.replicas",
        "",
    )  # ... and of the selector's text

    @property
    def key(self) -> str:
        """What the API's methods call the kind."""
        return self.name

    @property
    def singular(self) -> str:
        """The name as kubectl takes it, e.g. `pod`."""
        return self.name.lower()

    @property
    def api_version(self) -> str:
        """`apiVersion` of the kind's objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def has_status(self) -> bool:
        """Whether status is written through its own door only."""
        return "status" in self.subresources

    @property
    def columns(self) -> tuple[Column, ...]:
        """What `kubectl get` shows."""
        return columns_of(self.name)

    @property
    def schema(self) -> Obj:
        """The schema of the whole object."""
        found: Obj = definitions()[self.definition]
        return found

    @property
    def status_schema(self) -> Obj:
        """The published schema of its status; nothing when there is none."""
        found: Obj = self.schema.get("properties", {}).get("status", {})
        return found

    @property
    def shape(self) -> Shape:
        """The compiled schema of the whole object."""
        return shape(self.definition)

    @property
    def selectable_fields(self) -> frozenset[str]:
        """The fields that a field selector may name."""
        return self.selectable | METADATA_FIELDS


class Kinds:
    """The rows, found by name, by apiVersion and kind, or by the path of a URL."""

    def __init__(self, rows: Iterable[Kind]) -> None:
        self.changes = 0  # counts up when a row is added or removed
        self._followers: list[Callable[[Kind], None]] = []
        self._known: set[str] = set()  # keys that followers have been told of
        self._by_key: dict[str, Kind] = {}
        self._by_type: dict[tuple[str, str], Kind] = {}
        self._by_resource: dict[tuple[str, str, str], Kind] = {}
        for row in rows:
            self.add(row)

    def add(self, kind: Kind, *, stored: bool = True, served: bool = True) -> None:
        """One more row. Of a kind with several versions one is the `stored` one, which `get` finds; those that
        are `served` have a URL.
        """
        self.changes += 1
        if stored:
            self._by_key[kind.key] = kind
            if kind.key not in self._known:
                self._known.add(kind.key)
                for follower in self._followers:
                    follower(kind)
        self._by_type[(kind.api_version, kind.name)] = kind
        if served:
            self._by_resource[(kind.group, kind.version, kind.plural)] = kind

    def follow(self, follower: Callable[[Kind], None]) -> None:
        """Calls `follower` with every kind, now with those that are there and later once with each new one."""
        self._followers.append(follower)
        for kind in self:
            follower(kind)

    def remove(self, kind: Kind) -> None:
        """Takes a version out, and its kind if it is the stored one."""
        self.changes += 1
        known = self._by_key.get(kind.key)
        if known is not None and known.version == kind.version:
            del self._by_key[kind.key]
        self._by_type.pop((kind.api_version, kind.name), None)
        self._by_resource.pop((kind.group, kind.version, kind.plural), None)

    def __iter__(self) -> Iterator[Kind]:
        """Every kind once, in the version that is stored."""
        return iter(tuple(self._by_key.values()))

    def served(self) -> Iterator[Kind]:
        """Every version that has a URL."""
        return iter(tuple(self._by_resource.values()))

    def get(self, key: str) -> Kind:
        """The row of `key`, e.g. "Pod". Raises StatusError 404."""
        kind = self._by_key.get(key)
        if kind is None:
            raise no_such_kind(key)
        return kind

    def of(self, obj: Obj) -> Kind:
        """The row of an object, by its apiVersion and kind. Raises StatusError 400 or 404."""
        if type(obj) is not dict:
            raise bad_request(f"an object must be a mapping with apiVersion and kind, got {quote(obj)}")
        api_version, name = obj.get("apiVersion"), obj.get("kind")
        kind = (
            self._by_type.get((api_version, name))
            if isinstance(api_version, str) and isinstance(name, str)
            else None
        )
        if kind is not None:
            return kind
        if not api_version or not isinstance(api_version, str):
            raise bad_request("apiVersion: Required value: Object 'apiVersion' is missing")
        if not name or not isinstance(name, str):
            raise bad_request("kind: Required value: Object 'Kind' is missing")
        raise no_such_kind(name, api_version)

    def of_resource(self, group: str, version: str, plural: str) -> Kind | None:
        """The row of a URL's group, version and resource."""
        return self._by_resource.get((group, version, plural))


def no_such_kind(name: str, api_version: str = "") -> StatusError:
    """404, in the words of kubectl."""
    where = f' in version "{api_version}"' if api_version else ""
    return StatusError(404, "NotFound", f'no matches for kind "{name}"{where}', {"kind": name})
