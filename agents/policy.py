"""The policy agent: NetworkPolicies, pods and namespaces become the rules of one node.

    NetworkPolicy, Pod, Namespace --PolicyFeed--> ClusterIndex --> NodeRules --render_change--> kernel
    kubelet: secure(pod, addresses), before its containers start --^               |
             `-- waits until the kernel holds what isolates the pod <-------------'

The feed is one for the whole lab, as are the pictures of the API that kubelets share. While there is no
policy it keeps nothing, so labs without policies do not pay for them.

Invariants: a pod that a policy isolates does not run before the kernel knows; its rules stay until its kubelet
says that nothing comes from it any more, whatever becomes of its object; a text that the kernel refuses leaves the
rules before in force.

Source: Kubernetes documentation, "Network Policies": pod lifecycle.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from agents import desired
from agents.agent import Agent, Obj
from agents.node_rules import NodeRules
from agents.policy_index import ClusterIndex
from controlplane.api import API
from controlplane.informer import Informer
from controlplane.meta import key_of
from netfns import policy
from netfns.kernel import Kernel
from netfns.policy_rules import PolicyRules

KINDS = ("Namespace", "NetworkPolicy", "Pod")


@dataclass
class Attached:
    """A pod that its kubelet runs: its newest object, and the addresses that it was given."""

    pod: Obj
    addresses: tuple[str, ...]


class PolicyFeed:
    """What all nodes' policy agents know of the cluster."""

    def __init__(self, api: API) -> None:
        self.index = ClusterIndex()
        self._informers = {kind: Informer(api, kind) for kind in KINDS}
        self._attached: dict[str, Attached] = {}
        self._given: dict[str, str] = {}  # address -> uid of the pod that its kubelet gave it to
        self._informers["Namespace"].on_change(self._namespace_changed)
        self._informers["NetworkPolicy"].on_change(self._policy_changed)
        self._informers["Pod"].on_change(self._pod_changed)

    @property
    def active(self) -> bool:
        """Whether there is any policy."""
        return bool(self.index.policies)

    async def run(self) -> None:
        """Follow the API until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers.values():
                group.create_task(informer.run())

    def catch_up(self) -> None:
        """Take in what has already happened."""
        for informer in self._informers.values():
            informer.catch_up()

    def attach(self, pod: Obj, addresses: Sequence[str]) -> None:
        """A kubelet has given a pod its addresses, and is about to run it."""
        uid = pod["metadata"]["uid"]
        self._attached[uid] = Attached(self._newest(pod), tuple(addresses))
        self._given.update(dict.fromkeys(addresses, uid))
        self._look_at(uid)

    def detach(self, uid: str) -> tuple[str, ...]:
        """A pod that a kubelet ran is gone; returns the addresses that it had."""
        attached = self._attached.pop(uid, None)
        if attached is None:
            return ()
        for address in attached.addresses:
            if self._given.get(address) == uid:
                del self._given[address]
        if self.active:
            self.index.set_pod(uid, None)
        return attached.addresses

    def _newest(self, pod: Obj) -> Obj:
        found = self._informers["Pod"].objects.get(key_of(pod))
        return found if found is not None and found["metadata"]["uid"] == pod["metadata"]["uid"] else pod

    def _policy_changed(self, old: Obj | None, new: Obj | None) -> None:
        begins = not self.active
        self.index.set_policy(key_of(new or old or {}), None if new is None else desired.network_policy(new))
        if begins and self.active:
            self._fill()
        elif not self.active:
            self._empty()

    def _fill(self) -> None:
        for (_, name), namespace in self._informers["Namespace"].objects.items():
            self.index.set_namespace(name, desired.namespace_labels(namespace))
        for pod in self._informers["Pod"].objects.values():
            self._pod_changed(None, pod)
        for uid in self._attached:
            self._look_at(uid)

    def _empty(self) -> None:
        for uid in tuple(self.index.pods):
            self.index.set_pod(uid, None)
        for name in tuple(self.index.namespaces):
            self.index.set_namespace(name, None)

    def _namespace_changed(self, old: Obj | None, new: Obj | None) -> None:
        if self.active:
            name = (new or old or {})["metadata"]["name"]
            self.index.set_namespace(name, None if new is None else desired.namespace_labels(new))

    def _pod_changed(self, old: Obj | None, new: Obj | None) -> None:
        if old is not None and (new is None or new["metadata"]["uid"] != old["metadata"]["uid"]):
            self._gone(old["metadata"]["uid"])
        if new is None:
            return
        uid = new["metadata"]["uid"]
        if uid in self._attached:
            self._attached[uid].pod = new
            self._look_at(uid)
        elif self.active:
            pod = desired.policy_pod(new)
            if pod is not None:  # what a status says late must not take an address from who has it now
                mine = tuple(a for a in pod.addresses if self._given.get(a, uid) == uid)
                pod = replace(pod, addresses=mine)
            self.index.set_pod(uid, pod)

    def _gone(self, uid: str) -> None:
        """A pod's object is gone; one that still runs keeps its rules until it has ended."""
        if uid not in self._attached and self.active:
            self.index.set_pod(uid, None)

    def _look_at(self, uid: str) -> None:
        if self.active:
            attached = self._attached[uid]
            self.index.set_pod(uid, desired.policy_pod(attached.pod, attached.addresses))


class PolicyAgent(Agent):
    """Keeps one node's policy rules."""

    component = "network-policy"

    def __init__(self, api: API, node: str, machine: Kernel, feed: PolicyFeed) -> None:
        super().__init__(api, node, [])
        self.rules = NodeRules(node, feed.index)
        self._feed = feed
        self._machine = machine
        self._rebuild = True
        self._loaded = False
        self._waiting: list[asyncio.Future[None]] = []
        self._used: set[str] = set()  # addresses that a pod had and none has now
        self._reused: set[str] = set()  # such that a pod has again, with flows of the one before
        feed.index.listeners.append(self)

    def resync(self) -> None:
        """Load everything again."""
        self._rebuild = True
        super().resync()

    async def rules_changed(self) -> None:
        """Somebody else has changed the node's rules: load everything again if ours are not whole any more."""
        elements = tuple(self.rules.isolated())
        if self._loaded and not await asyncio.to_thread(policy.intact, self._machine, elements):
            self.warn(self.involved(), "the table network-policy was changed by somebody else: loaded again")
            self.resync()

    async def secure(self, pod: Obj, addresses: Sequence[str]) -> bool:
        """Return when the kernel holds what isolates a pod, which must not run before. Whether there is any
        policy at all.
        """
        self._feed.attach(pod, addresses)
        self._feed.catch_up()
        if self._feed.active:
            self._reused |= self._used.intersection(addresses)
        self._used.difference_update(addresses)
        if self._reused or self.rules.isolates(pod["metadata"]["uid"]):
            done = asyncio.get_running_loop().create_future()
            self._waiting.append(done)
            self.changed()
            await done
        return self._feed.active

    def release(self, uid: str) -> None:
        """A pod has ended, and nothing that it sent is on its way any more."""
        self._used.update(self._feed.detach(uid))

    def touched(self, _: str) -> None:
        """The index has changed; whether it matters here, the rules know already."""
        if self.rules.changed:
            self.changed()

    def policy_changed(self, *_: object) -> None:
        """The same."""
        if self.rules.changed:
            self.changed()

    async def reconcile(self) -> None:
        """Bring the kernel in line with the rules."""
        self._feed.catch_up()
        waiting, self._waiting = self._waiting, []
        rebuild, self._rebuild = self._rebuild, False
        reused, self._reused = self._reused, set()
        work = self._work(rebuild)
        try:
            if work is not None:
                await asyncio.to_thread(work)
            if reused:
                await asyncio.to_thread(policy.forget, self._machine, sorted(reused))
        except BaseException:
            self._rebuild = True
            self._reused |= reused
            self._waiting = waiting + self._waiting
            raise
        for done in waiting:
            if not done.done():
                done.set_result(None)

    def _work(self, rebuild: bool) -> Callable[[], None] | None:
        """What is to be done to the kernel now."""
        loaded, self._loaded = self._loaded, not self.rules.empty
        if self.rules.empty:
            self.rules.everything()
            return partial(policy.remove, self._machine) if rebuild or loaded else None
        if rebuild or not loaded:
            return partial(self._load, self.rules.everything())
        return partial(self._change, *self.rules.take_change()) if self.rules.changed else None

    def _load(self, rules: PolicyRules) -> None:
        policy.prepare(self._machine)
        policy.load(self._machine, rules)

    def _change(self, old: PolicyRules, new: PolicyRules) -> None:
        change = policy.render_change(old, new)
        if change:
            policy.apply(self._machine, change)
