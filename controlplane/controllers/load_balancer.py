"""Addresses for Services of type LoadBalancer: from a pool, written to status; who answers for them is the
agents' matter.

    Service type LoadBalancer, loadBalancerClass nil or `haproxy` --> status.loadBalancer.ingress[0].ip
    another class is somebody else's; another type gives the address back

`spec.loadBalancerIP` asks for a certain address. When the pool is empty an event says so, and the Service is
served as soon as another one gives its address back.

Source: Kubernetes documentation "Service: type LoadBalancer", "load balancer class".
"""

from __future__ import annotations

from controlplane.allocators import AddressPool
from controlplane.api import API
from controlplane.informers import Informers
from controlplane.meta import Key, Obj, key_of
from controlplane.reconciler import Reconciler

NETWORK, FIRST, LAST = "192.168.50.0/24", "192.168.50.200", "192.168.50.250"
OUR_CLASSES = (None, "haproxy")
COMPONENT = "service-lb-controller"


class LoadBalancerController:
    """Watches Services, writes status.loadBalancer."""

    def __init__(self, api: API, informers: Informers, pool: AddressPool | None = None) -> None:
        self._api = api
        self._pool = pool or AddressPool(NETWORK, first=FIRST, last=LAST)
        self._services = informers["Service"]
        self._waiting: set[Key] = set()
        self.reconciler = Reconciler("load-balancer", self._reconcile)
        self._services.on_change(self._changed)

    async def run(self) -> None:
        """Works until cancelled."""
        await self.reconciler.run()

    def _changed(self, old: Obj | None, new: Obj | None) -> None:
        """Keeps the books: what the status says is held."""
        if old is not None:
            for address in _addresses(old):
                self._pool.release(address, key_of(old))
        if new is not None:
            for address in _addresses(new):
                self._pool.hold(address, key_of(new))
            self.reconciler.enqueue(key_of(new))
        if old is not None and _addresses(old) and (new is None or not _addresses(new)):
            self.reconciler.enqueue_all(self._waiting)

    async def _reconcile(self, key: Key) -> None:
        self._services.catch_up()
        namespace, name = key
        self._waiting.discard((namespace, name))
        service = self._services.get(namespace, name)
        if service is None or "deletionTimestamp" in service["metadata"]:
            return
        spec, present = service["spec"], _addresses(service)
        if spec["type"] != "LoadBalancer":
            if present:
                self._api.update_status("Service", name, namespace, {"loadBalancer": {"ingress": None}})
            return
        if spec.get("loadBalancerClass") not in OUR_CLASSES:
            return
        wanted = spec.get("loadBalancerIP")
        if present and wanted in (None, "", present[0]):
            return
        self._give(service, wanted or "")

    def _give(self, service: Obj, wanted: str) -> None:
        namespace, name = key_of(service)
        address, problem = self._choose(wanted, (namespace, name))
        if address is None:
            self._waiting.add((namespace, name))
            self._api.event(service, "AllocationFailed", problem, type="Warning", component=COMPONENT)
            return
        ingress = [{"ip": address, "ipMode": "VIP"}]
        self._api.update_status("Service", name, namespace, {"loadBalancer": {"ingress": ingress}})
        self._api.event(service, "IPAllocated", f"Assigned IP {address}", component=COMPONENT)

    def _choose(self, wanted: str, who: Key) -> tuple[str | None, str]:
        """(address, "") or (None, why not)."""
        if not wanted:
            return (
                self._pool.next_free(),
                f"no free load balancer address in {self._range()}: delete a Service of type LoadBalancer",
            )
        number = self._pool.number(wanted)
        if number is None or number not in self._pool.numbers:
            return None, f"spec.loadBalancerIP: {wanted} is not in {self._range()}"
        if not self._pool.numbers.is_free_for(number, who):
            return None, f"spec.loadBalancerIP: {wanted} is already assigned"
        return wanted, ""

    def _range(self) -> str:
        numbers = self._pool.numbers
        return f"{self._pool.address(numbers.first)}-{self._pool.address(numbers.last)}"


def _addresses(service: Obj) -> list[str]:
    ingress = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [entry["ip"] for entry in ingress if "ip" in entry]
