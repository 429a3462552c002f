"""A lab's topology as values, as text and as SVG."""

import xml.etree.ElementTree as ElementTree
from typing import Any

from labs import pictures
from labs.topology import Topology, assemble

Obj = dict[str, Any]


def pod(name: str, node: str, address: str = "", **spec: Any) -> Obj:
    conditions = [{"type": "Ready", "status": "True" if address else "False"}]
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node, **spec},
        "status": {"podIP": address, "conditions": conditions},
    }


def balanced(name: str, address: str, **spec: Any) -> Obj:
    return {
        "metadata": {"name": name, "namespace": "shop"},
        "spec": spec,
        "status": {"loadBalancer": {"ingress": [{"ip": address}]}},
    }


def topology(*pods: Obj) -> Topology:
    nodes = [{"metadata": {"name": "worker1"}, "spec": {"podCIDR": "10.244.1.0/24"}}]
    services = [
        balanced("web", "192.168.50.200"),
        balanced("api", "192.168.50.201", loadBalancerClass="minipod.dev/python"),
        {"metadata": {"name": "db", "namespace": "shop"}, "spec": {}, "status": {}},
    ]
    return assemble("lab", 1, nodes, list(pods), services)


def test_machines_hold_their_pods_and_services() -> None:
    nodes, second, outside = topology(pod("web-1", "worker1", "10.244.1.2")).networks
    assert [machine.name for machine in nodes.machines] == ["control-plane", "worker1", "lb1", "lb2", "vm1"]
    assert [machine.name for machine in (*second.machines, *outside.machines)] == ["vm2", "outside"]
    _, worker1, lb1, lb2, _ = nodes.machines
    assert worker1.pod_cidr == "10.244.1.0/24"
    assert [one.name for one in worker1.pods] == ["web-1"]
    assert lb1.serves == ("shop/web 192.168.50.200",)
    assert lb2.serves == ("shop/api 192.168.50.201",)


def test_the_tree_says_where_a_pod_is_and_what_it_lacks() -> None:
    pods = (
        pod("web-1", "worker1", "10.244.1.2"),
        pod("late", "worker1"),
        pod("own", "worker1", hostNetwork=True),
    )
    tree = pictures.text(topology(*pods)).splitlines()
    assert "│   │   ├── pod/web-1.shop  10.244.1.2" in tree
    assert "│   │   ├── pod/late.shop  no address yet  not Ready" in tree
    assert "│   │   └── pod/own.shop  the node's network  not Ready" in tree
    assert tree[-1] == "    └── outside        203.0.113.10  2001:db8:113::10"


def shapes(svg: str, name: str) -> list[ElementTree.Element]:
    return ElementTree.fromstring(svg).findall(f".//{{http://www.w3.org/2000/svg}}{name}")


def test_the_picture_is_one_document_with_every_name() -> None:
    svg = pictures.svg(topology(pod("a<b&c", "worker1", "10.244.1.2")))
    words = ["".join(text.itertext()) for text in shapes(svg, "text")]
    for name in ("control-plane", "worker1", "lb1", "lb2", "vm1", "vm2", "outside", "router"):
        assert name in words
    assert any("a<b&c" in word for word in words)
    assert "nodes 192.168.50.0/24" in words


def test_nothing_is_drawn_outside_the_picture() -> None:
    pods = [pod(f"a-pod-with-a-very-long-name-{number}", "worker1", "10.244.1.2") for number in range(30)]
    svg = pictures.svg(topology(*pods))
    root = ElementTree.fromstring(svg)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for box in shapes(svg, "rect")[1:]:
        assert float(box.attrib["x"]) + float(box.attrib["width"]) <= width
        assert float(box.attrib["y"]) + float(box.attrib["height"]) <= height
    assert "and 18 more pods" in svg
