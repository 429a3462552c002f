"""The cluster file: what a lab is made of. Every field has a default, so an empty file is a valid one.

    apiVersion: minipod.dev/v1
    kind: Cluster
    workers: 2              # 1 to 75
    cni: flannel            # the pod network
    proxyMode: nftables     # how services are translated
    ipFamilies: [IPv4, IPv6]    # or [IPv4], or [IPv6, IPv4]: a Service gets the first when it does not ask

Options of `minipod up` win over the file.
"""

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from controlplane.yaml_text import YamlError, load_documents
from labs.errors import LabError
from netfns import PROXY_MODES
from topo import plan
from topo.plan import IPV4, IPV6

API_VERSION, KIND = "minipod.dev/v1", "Cluster"
CNIS = ("flannel",)
IP_FAMILIES = ((IPV4, IPV6), (IPV4,), (IPV6, IPV4))
_NAMES = {"workers": "workers", "cni": "cni", "proxyMode": "proxy_mode", "ipFamilies": "ip_families"}


@dataclass(frozen=True)
class ClusterConfig:
    """A lab's make-up. Raises LabError when a value cannot be."""

    workers: int = 2
    cni: str = "flannel"
    proxy_mode: str = "nftables"
    ip_families: tuple[str, ...] = IP_FAMILIES[0]

    def to_json(self) -> dict[str, Any]:
        """As plain data, for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ClusterConfig":
        """The inverse of `to_json`."""
        return cls(**data | {"ip_families": tuple(data["ip_families"])})

    def checked(self, place: str) -> "ClusterConfig":
        """Itself, when every value is possible. Raises LabError that begins with `place`."""
        if isinstance(self.workers, bool) or not isinstance(self.workers, int):
            raise LabError(f"{place}: workers: want a whole number, got {self.workers!r}")
        if not 1 <= self.workers <= plan.MAX_WORKERS:
            raise LabError(f"{place}: workers: want 1 to {plan.MAX_WORKERS}, got {self.workers}")
        for name, value, known in (
            ("cni", self.cni, CNIS),
            ("proxyMode", self.proxy_mode, tuple(PROXY_MODES)),
        ):
            if value not in known:
                raise LabError(f"{place}: {name}: want one of {', '.join(known)}, got {value!r}")
        if self.ip_families not in IP_FAMILIES:
            wanted = " or ".join(f"[{', '.join(families)}]" for families in IP_FAMILIES)
            raise LabError(f"{place}: ipFamilies: want {wanted}, got {_shown(self.ip_families)}")
        return self


def load(path: Path) -> ClusterConfig:
    """Read a cluster file. Raises LabError naming the file, the field and what is wanted."""
    try:
        documents = load_documents(path.read_text())
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}: give the path of a cluster file") from None
    except UnicodeDecodeError:
        raise LabError(f"{path}: not text: give the path of a cluster file") from None
    except YamlError as error:
        raise LabError(f"{path}: {error}: mend the YAML") from None
    if len(documents) > 1:
        raise LabError(f"{path}: line {documents[1][0]}: a second document: want one")
    return from_fields(documents[0][1] if documents else {}, str(path))


def from_fields(data: Any, place: str) -> ClusterConfig:
    """A make-up from the fields of a cluster file. Raises LabError that begins with `place`."""
    if not isinstance(data, dict):
        raise LabError(f"{place}: want a mapping with kind: {KIND}, got {type(data).__name__}")
    for field, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        if data.get(field, wanted) != wanted:
            raise LabError(f"{place}: {field}: want {wanted}, got {data[field]!r}")
    unknown = sorted(str(key) for key in data if key not in (*_NAMES, "apiVersion", "kind"))
    if unknown:
        raise LabError(f"{place}: {unknown[0]}: unknown field: want one of {', '.join(_NAMES)}")
    values = {name: data[key] for key, name in _NAMES.items() if key in data}
    if isinstance(values.get("ip_families"), list):
        values["ip_families"] = tuple(values["ip_families"])
    return ClusterConfig(**values).checked(place)


def _shown(families: Any) -> str:
    return f"[{', '.join(map(str, families))}]" if isinstance(families, tuple) else repr(families)


def with_options(config: ClusterConfig, **options: Any) -> ClusterConfig:
    """`config` with the options that are given (not None). Raises LabError."""
    known = {field.name for field in fields(ClusterConfig)}
    given = {name: value for name, value in options.items() if name in known and value is not None}
    return replace(config, **given).checked("minipod up")
