"""The policy agent against the real API, with a kernel that writes down what it is told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from agents.policy import PolicyAgent, PolicyFeed
from controlplane.api import API
from netfns.kernel import CommandError

Obj = dict[str, Any]
DEADLINE = 10.0
NOWHERE = "table inet network-policy\ndelete table inet network-policy\n"
ISOLATED = 'add element inet network-policy ingress4 { 10.244.1.3 comment "default/web" : jump'


class FakeKernel:
    """Keeps texts, or refuses them while it is `broken`."""

    name = "worker1"

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.commands: list[str] = []
        self.broken = False

    def run(self, argv: Sequence[str], stdin: str = "") -> str:
        self.commands.append(" ".join(argv))
        return ""

    def nft(self, ruleset: str) -> None:
        if self.broken:
            raise CommandError(["nft"], 1, "refused")
        self.texts.append(ruleset)

    def ip(self, batch: str) -> None: ...

    def bridge(self, batch: str) -> None: ...

    def sysctl(self, key: str, value: str) -> None: ...


def pod(name: str = "web", **labels: str) -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels},
        "spec": {"nodeName": "worker1", "containers": [{"name": "main", "image": "nginx"}]},
    }


def deny(name: str = "deny", **labels: str) -> Obj:
    spec = {"podSelector": {"matchLabels": labels}, "policyTypes": ["Ingress"]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


@asynccontextmanager
async def running(api: API, kernel: FakeKernel) -> AsyncIterator[PolicyAgent]:
    feed = PolicyFeed(api)
    agent = PolicyAgent(api, "worker1", kernel, feed)
    tasks = [asyncio.create_task(feed.run()), asyncio.create_task(agent.run())]
    try:
        yield agent
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.002)


def play(story: Callable[[API, FakeKernel, PolicyAgent], Awaitable[None]], broken: bool = False) -> None:
    async def told() -> None:
        api, kernel = API(), FakeKernel()
        kernel.broken = broken
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
        async with running(api, kernel) as agent:
            async with asyncio.timeout(DEADLINE):
                await story(api, kernel, agent)

    asyncio.run(told())


def test_without_policies_a_pod_waits_for_nothing_and_the_kernel_holds_nothing() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        await until(lambda: kernel.texts == [NOWHERE])
        assert not await agent.secure(api.create(pod()), ["10.244.1.3"])
        await agent.reconcile()
        assert kernel.texts == [NOWHERE]

    play(story)


def test_an_isolated_pod_is_secured_when_the_kernel_has_its_address_and_not_before() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        await until(lambda: kernel.texts)
        kernel.broken = True
        api.create(deny())
        waiting = asyncio.create_task(agent.secure(api.create(pod()), ["10.244.1.3"]))
        await until(lambda: api.list("Event")[0])
        assert not waiting.done()
        kernel.broken = False
        assert await waiting
        assert '10.244.1.3 comment "default/web" : jump ingress/default/deny' in kernel.texts[-1]

    play(story)


def test_an_isolated_pod_waits_for_an_agent_that_has_not_loaded_anything_yet_and_others_do_not() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny(app="web"))
        waiting = asyncio.create_task(agent.secure(api.create(pod(app="web")), ["10.244.1.3"]))
        await until(lambda: api.list("Event")[0])
        assert await agent.secure(api.create(pod("other")), ["10.244.1.4"])
        assert not waiting.done()
        kernel.broken = False
        await waiting

    play(story, broken=True)


def test_a_refused_change_is_an_event_and_everything_is_loaded_again() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        await agent.secure(api.create(pod()), ["10.244.1.3"])
        kernel.broken = True
        api.create(deny("another"))
        await until(lambda: api.list("Event")[0])
        assert api.list("Event")[0][0]["reason"] == "SyncFailed"
        kernel.broken = False
        await until(lambda: "jump ingress/default/another/deny" in kernel.texts[-1])
        assert kernel.texts[-1].startswith(NOWHERE)

    play(story)


def test_a_label_change_is_told_as_elements_only() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny(app="web"))
        await agent.secure(api.create(pod("other", app="web")), ["10.244.1.2"])
        await agent.secure(api.create(pod(app="db")), ["10.244.1.3"])
        api.patch("Pod", "web", "default", {"metadata": {"labels": {"app": "web"}}})
        await until(lambda: ISOLATED in kernel.texts[-1])
        assert all(line.startswith("add element ") for line in kernel.texts[-1].splitlines())

    play(story)


def test_a_pod_keeps_its_rules_until_it_has_ended_whatever_becomes_of_its_object() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        made = api.create(pod())
        await agent.secure(made, ["10.244.1.3"])
        texts = len(kernel.texts)
        api.patch("Pod", "web", "default", {"status": {"phase": "Succeeded"}}, subresource="status")
        await agent.reconcile()
        assert len(kernel.texts) == texts  # what its last packets meet
        api.delete("Pod", "web", "default", grace_period=0)
        api.create(pod("next"))
        await agent.reconcile()
        assert len(kernel.texts) == texts
        agent.release(made["metadata"]["uid"])
        await until(lambda: kernel.texts[-1] == NOWHERE)

    play(story)


def test_pods_on_the_nodes_network_are_nobody_for_policies() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        host = pod()
        host["spec"]["hostNetwork"] = True
        made = api.create(host)
        api.update_status("Pod", "web", "default", {"podIPs": [{"ip": "192.168.50.21"}]})
        await agent.reconcile()
        assert not agent.rules.isolates(made["metadata"]["uid"])

    play(story)


def test_resync_loads_everything_again() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        await agent.secure(api.create(pod()), ["10.244.1.3"])
        before = list(kernel.texts)
        agent.resync()
        await until(lambda: kernel.texts == [*before, before[-1]])

    play(story)


def test_an_address_that_was_another_pods_begins_without_its_flows() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        first = api.create(pod())
        await agent.secure(first, ["10.244.1.3"])
        assert kernel.commands == []
        agent.release(first["metadata"]["uid"])
        await agent.secure(api.create(pod("next")), ["10.244.1.3"])
        forgotten = "conntrack -D -f ipv4 {} 10.244.1.3"
        assert kernel.commands == [forgotten.format(end) for end in ("--orig-src", "--reply-src")]

    play(story)


def test_rules_that_somebody_changed_are_loaded_again_and_an_event_says_so() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny())
        await agent.secure(api.create(pod()), ["10.244.1.3"])
        before = list(kernel.texts)
        await agent.rules_changed()  # this kernel says that it holds nothing
        await until(lambda: kernel.texts == [*before, before[-1]])
        assert "changed by somebody else" in str(api.list("Event")[0])

    play(story)


def test_a_status_that_comes_late_takes_no_address_from_the_pod_that_has_it_now() -> None:
    async def story(api: API, kernel: FakeKernel, agent: PolicyAgent) -> None:
        api.create(deny(app="next"))
        first = api.create(pod(app="free"))
        await agent.secure(first, ["10.244.1.3"])
        agent.release(first["metadata"]["uid"])
        following = api.create(pod("next", app="next"))
        await agent.secure(following, ["10.244.1.3"])
        api.update_status("Pod", "web", "default", {"podIPs": [{"ip": "10.244.1.3"}]})
        await agent.reconcile()
        isolated = [(element.key, element.owner) for element in agent.rules.isolated() if element.value]
        assert isolated == [("10.244.1.3", "default/next")]

    play(story)
