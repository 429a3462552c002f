"""The table of kinds: everything that the API server knows about a kind is in its row. A new kind is a new
row.

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
from controlplane.defaults import apps as default_apps
from controlplane.defaults import core as default_core
from controlplane.defaults import pod as default_pod
from controlplane.defaults import service as default_service
from controlplane.errors import FieldErrors, StatusError, bad_request, quote
from controlplane.meta import Obj
from controlplane.schema.decode import Shape, shape
from controlplane.validation import apps as validate_apps
from controlplane.validation import core as validate_core
from controlplane.validation import discovery as validate_discovery
from controlplane.validation import node as validate_node
from controlplane.validation import pod as validate_pod
from controlplane.validation import service as validate_service
from controlplane.validation.meta import NameCheck, label_name, label_name_1035, subdomain_name

Default = Callable[[Obj], Obj]
Validate = Callable[[Obj, Obj | None, FieldErrors], None]

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
        self._by_key: dict[str, Kind] = {}
        self._by_type: dict[tuple[str, str], Kind] = {}
        self._by_resource: dict[tuple[str, str, str], Kind] = {}
        for row in rows:
            self.add(row)

    def add(self, kind: Kind) -> None:
        """One more row."""
        self._by_key[kind.key] = kind
        self._by_type[(kind.api_version, kind.name)] = kind
        self._by_resource[(kind.group, kind.version, kind.plural)] = kind

    def __iter__(self) -> Iterator[Kind]:
        return iter(self._by_key.values())

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


STATUS = frozenset({"status"})
SCALED = frozenset({"status", "scale"})
CORE, APPS = "io.k8s.api.core.v1.", "io.k8s.api.apps.v1."


CORE_KINDS = (
    Kind(
        "Namespace",
        "namespaces",
        CORE + "Namespace",
        namespaced=False,
        short_names=("ns",),
        subresources=frozenset({"status", "finalize"}),
        selectable=frozenset({"status.phase"}),
        default=default_core.namespace,
        check_name=label_name,
        initial_status=lambda obj: {"phase": "Active"},
    ),
    Kind(
        "Node",
        "nodes",
        CORE + "Node",
        namespaced=False,
        short_names=("no",),
        subresources=STATUS,
        selectable=frozenset({"spec.unschedulable"}),
        validate=validate_node.validate,
        initial_status=None,
    ),
    Kind(
        "Pod",
        "pods",
        CORE + "Pod",
        short_names=("po",),
        categories=("all",),
        subresources=frozenset({"status", "binding", "eviction"}),
        selectable=frozenset(
            {
                "spec.nodeName",
                "spec.restartPolicy",
                "spec.schedulerName",
                "spec.serviceAccountName",
                "spec.hostNetwork",
            }
            | {"status.phase", "status.podIP", "status.nominatedNodeName"}
        ),
        default=default_pod.pod,
        validate=validate_pod.validate,
        initial_status=default_pod.initial_status,
        counts_generations=True,
    ),
    Kind(
        "Service",
        "services",
        CORE + "Service",
        short_names=("svc",),
        categories=("all",),
        subresources=STATUS,
        selectable=frozenset({"spec.clusterIP", "spec.type"}),
        default=default_service.service,
        validate=validate_service.validate,
        check_name=label_name_1035,
        initial_status=lambda obj: {"loadBalancer": {}},
    ),
    Kind(
        "Endpoints",
        "endpoints",
        CORE + "Endpoints",
        short_names=("ep",),
        default=default_service.endpoints,
        validate=validate_discovery.validate_endpoints,
    ),
    Kind(
        "ConfigMap",
        "configmaps",
        CORE + "ConfigMap",
        short_names=("cm",),
        validate=validate_core.config_map,
    ),
    Kind(
        "Secret",
        "secrets",
        CORE + "Secret",
        selectable=frozenset({"type"}),
        default=default_core.secret,
        validate=validate_core.secret,
    ),
    Kind("ServiceAccount", "serviceaccounts", CORE + "ServiceAccount", short_names=("sa",)),
)


WORKLOAD_KINDS = (
    Kind(
        "Deployment",
        "deployments",
        APPS + "Deployment",
        group="apps",
        short_names=("deploy",),
        categories=("all",),
        subresources=SCALED,
        default=default_apps.deployment,
        validate=validate_apps.deployment,
        counts_generations=True,
    ),
    Kind(
        "ReplicaSet",
        "replicasets",
        APPS + "ReplicaSet",
        group="apps",
        short_names=("rs",),
        categories=("all",),
        subresources=SCALED,
        selectable=frozenset({"status.replicas"}),
        default=default_apps.replica_set,
        validate=validate_apps.replica_set,
        initial_status=lambda obj: {"replicas": 0},
        counts_generations=True,
    ),
)


OTHER_KINDS = (
    Kind(
        "EndpointSlice",
        "endpointslices",
        "io.k8s.api.discovery.v1.EndpointSlice",
        group="discovery.k8s.io",
        default=default_service.endpoint_slice,
        validate=validate_discovery.validate_slice,
    ),
    Kind(
        "Lease",
        "leases",
        "io.k8s.api.coordination.v1.Lease",
        group="coordination.k8s.io",
        validate=validate_core.lease,
    ),
    Kind(
        "Event",
        "events",
        CORE + "Event",
        short_names=("ev",),
        selectable=frozenset(
            {
                "involvedObject.kind",
                "involvedObject.namespace",
                "involvedObject.name",
                "involvedObject.uid",
            }
            | {"involvedObject.apiVersion", "involvedObject.resourceVersion", "involvedObject.fieldPath"}
            | {"reason", "reportingComponent", "source", "type"}
        ),
        validate=validate_core.event,
    ),
)


def standard_kinds() -> Kinds:
    """A new table with the built-in kinds."""
    return Kinds((*CORE_KINDS, *WORKLOAD_KINDS, *OTHER_KINDS))
