"""The API server: writes a second, lists of thousands of objects, and watches that many follow.

    writes    create, update and delete pods, with all validation: through the API, and over HTTP on a Unix socket
    lists     of N pods (and N/5 services beside them): through the API, and as JSON and as a Table over HTTP
    memory    what N pods and N/5 services take in the server
    watches   W clients follow a kind over HTTP; the time until all of them have read one write

The control plane runs without a lab, so nothing here needs the kernel. The floor of an HTTP request is the same
server's /readyz. Aims: 1,000 writes a second on one core; lists linear in N; a write seen by 100 watchers within 10 ms.
"""

import asyncio
import multiprocessing
import tempfile
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from bench.support.common import Report, arguments, counts, median, milliseconds
from controlplane.api import API
from controlplane.http import make_app, trusted
from controlplane.manager import ControlPlane

Obj = dict[str, Any]
PODS = "/api/v1/namespaces/default/pods"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"}
WRITES, REQUESTS, FOLLOWED = 2000, 500, 50


def pod(number: int) -> Obj:
    """A pod as people write it."""
    container = {"name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}
    metadata = {"name": f"pod-{number}", "labels": {"app": "web", "number": str(number)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def service(number: int) -> Obj:
    """A service as people write it."""
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"service-{number}"}, "spec": spec}


def fresh() -> API:
    """A new cluster's API; nothing reacts. What is compiled on first use already is."""
    cluster = ControlPlane()
    cluster.start()
    for make in (pod, service):
        made = cluster.api.create(make(999_999))
        cluster.api.delete(made["kind"], made["metadata"]["name"], "default")
    return cluster.api


def rate(action: Callable[[int], Any], times: int) -> float:
    """How often a second `action(number)` can be done."""
    begun = time.perf_counter()
    for number in range(times):
        action(number)
    return times / (time.perf_counter() - begun)


def writes() -> dict[str, float]:
    """Writes a second through the API itself."""
    api = fresh()

    def relabel(number: int) -> None:
        api.patch("Pod", f"pod-{number}", "default", {"metadata": {"labels": {"more": "yes"}}})

    def report(number: int) -> None:
        status = {"phase": "Running", "podIP": "10.244.1.1", "podIPs": [{"ip": "10.244.1.1"}]}
        api.update_status("Pod", f"pod-{number}", "default", status)

    return {
        "create": rate(lambda number: api.create(pod(number)), WRITES),
        "patch": rate(relabel, WRITES),
        "update status": rate(report, WRITES),
        "delete": rate(lambda number: api.delete("Pod", f"pod-{number}", "default"), WRITES),
    }


class Served:
    """The API over HTTP, on a Unix socket in a folder that goes with it."""

    def __init__(self, api: API) -> None:
        self._api = api
        self._stack = AsyncExitStack()
        self.client: aiohttp.ClientSession

    async def __aenter__(self) -> "Served":
        path = str(Path(self._stack.enter_context(tempfile.TemporaryDirectory()), "api.sock"))
        runner = web.AppRunner(make_app(self._api, auth=trusted), access_log=None)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        await web.UnixSite(runner, path).start()
        connector = aiohttp.UnixConnector(path, limit=0)
        session = aiohttp.ClientSession("http://api", connector=connector, read_bufsize=2**20)
        self.client = await self._stack.enter_async_context(session)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self, method: str, path: str, **options: Any) -> int:
        """One request to its end; the length of the answer in bytes."""
        async with self.client.request(method, path, **options) as response:
            body = await response.read()
            if response.status >= 400:
                raise RuntimeError(f"{method} {path}: {response.status}: {body[:200]!r}")
            return len(body)


async def seconds_of(work: Awaitable[Any]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    await work
    return time.perf_counter() - begun


async def requests() -> dict[str, float]:
    """Requests a second over HTTP, one after the other, client and server in one process."""
    async with Served(fresh()) as served:

        async def all_of(ask: Callable[[int], Awaitable[Any]]) -> None:
            for number in range(REQUESTS):
                await ask(number)

        floor = await seconds_of(all_of(lambda number: served.ask("GET", "/readyz")))
        create = await seconds_of(all_of(lambda number: served.ask("POST", PODS, json=pod(number))))
        delete = await seconds_of(all_of(lambda number: served.ask("DELETE", f"{PODS}/pod-{number}")))
    return {"floor": REQUESTS / floor, "create": REQUESTS / create, "delete": REQUESTS / delete}


async def lists(count: int) -> dict[str, float]:
    """Seconds of each way to list `count` pods, bytes of memory a pod, bytes of the answer."""
    api = fresh()
    tracemalloc.start()
    for number in range(count):
        api.create(pod(number))
    for number in range(count // 5):
        api.create(service(number))
    memory = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    async with Served(api) as served:
        begun = time.perf_counter()
        api.list("Pod")
        plain = time.perf_counter() - begun
        size = await served.ask("GET", PODS)
        return {
            "api": plain,
            "json": await seconds_of(served.ask("GET", PODS)),
            "table": await seconds_of(served.ask("GET", PODS, headers=TABLE)),
            "selector": await seconds_of(served.ask("GET", f"{PODS}?labelSelector=number%3D7")),
            "pages": await seconds_of(served.ask("GET", f"{PODS}?limit=500")),
            "memory": memory / count,
            "size": size / count,
        }


def alone(count: int) -> dict[str, float]:
    """`lists` in a process of its own, whose memory is of nothing else."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_run_lists, count).result()


def _run_lists(count: int) -> dict[str, float]:
    return asyncio.run(lists(count))


async def watches(count: int) -> dict[str, float]:
    """`count` clients follow; the seconds until all have read one write, and of the write itself."""
    api = fresh()
    async with Served(api) as served, AsyncExitStack() as stack:
        since = api.store.revision
        path = f"{CONFIG_MAPS}?watch=true&resourceVersion={since}"
        streams = [await stack.enter_async_context(served.client.get(path)) for _ in range(count)]
        waited, written = [], []
        for number in range(FOLLOWED):
            reading = [asyncio.ensure_future(stream.content.readline()) for stream in streams]
            await asyncio.sleep(0)
            begun = time.perf_counter()
            api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"c{number}"}})
            written.append(time.perf_counter() - begun)
            await asyncio.gather(*reading)
            waited.append(time.perf_counter() - begun)
        return {"all": median(waited), "write": median(written)}


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The middle value of each measurement."""
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--counts", type=counts, default=[500, 1000, 2500, 5000], help="pods to list")
    parser.add_argument("--watchers", type=counts, default=[1, 10, 100], help="clients that watch")
    options = parser.parse_args()
    report = Report("api")
    repeat = range(options.repeat)
    direct = medians([writes() for _ in repeat])
    report.table(
        "Writes a second (aim 1,000)",
        ["", *direct],
        [["API", *(f"{value:.0f}" for value in direct.values())]],
    )
    http = medians([asyncio.run(requests()) for _ in repeat])
    rows = [
        [name, f"{http[name]:.0f}", f"{http['floor'] / http[name]:.2f} x"] for name in ("create", "delete")
    ]
    report.table("Over HTTP, client and server on one core", ["", "a second", "time of /readyz"], rows)
    report.table(
        *list_table({count: medians([asyncio.run(lists(count)) for _ in repeat]) for count in options.counts})
    )
    report.table(
        *watch_table(
            {count: medians([asyncio.run(watches(count)) for _ in repeat]) for count in options.watchers}
        )
    )
    if options.save:
        report.save()
    return 0


def list_table(found: dict[int, dict[str, float]]) -> tuple[str, list[str], list[list[str]]]:
    """The table of lists; growth is the time of a pod against the smallest count's."""
    first = next(iter(found))
    rows = []
    for count, values in found.items():
        growth = values["json"] / count / (found[first]["json"] / first)
        times = [milliseconds(values[name]) for name in ("api", "json", "table", "selector", "pages")]
        rows.append([str(count), *times, f"{growth:.2f} x", f"{values['memory'] / 1024:.1f} KiB"])
    header = ["pods", "API", "JSON", "Table", "one by label", "first 500", "growth a pod", "memory a pod"]
    return "Lists, beside a fifth as many services", header, rows


def watch_table(found: dict[int, dict[str, float]]) -> tuple[str, list[str], list[list[str]]]:
    """The table of watches."""
    rows = [
        [
            str(count),
            milliseconds(values["write"]),
            milliseconds(values["all"]),
            milliseconds(values["all"] / count),
        ]
        for count, values in found.items()
    ]
    return "A write that watchers follow", ["watchers", "write", "all have read it", "each"], rows


if __name__ == "__main__":
    raise SystemExit(main())
