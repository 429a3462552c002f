from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from netfns.service import render, render_change
from netfns.service_types import Endpoint, Packet, Service, ServicePort, ServiceProxy
from netfns.service_verdict import evaluate
from tests.golden.cases import CHANGED, PROXY, WEB


def test_equal_input_gives_equal_text() -> None:
    assert render(PROXY) == render(replace(PROXY, services=tuple(PROXY.services)))


def test_no_difference_no_commands() -> None:
    assert render_change(PROXY, PROXY) == ""


def test_a_change_names_only_what_changed() -> None:
    assert "default/web:http" not in render_change(PROXY, replace(PROXY, services=(*PROXY.services[1:],)))


def test_a_change_of_the_node_is_a_rebuild() -> None:
    moved = replace(PROXY, node_addresses=("192.168.50.29",))
    assert render_change(PROXY, moved) == render(moved)


def test_changed_services_alone_give_the_same_commands() -> None:
    gone, changed = PROXY.services[1], CHANGED.services[0]
    old = replace(PROXY, services=(PROXY.services[0], gone))
    assert render_change(old, replace(PROXY, services=(changed,))) == render_change(PROXY, CHANGED)


def test_single_stack_has_one_table() -> None:
    single = replace(PROXY, pod_cidrs=("10.244.0.0/16",), service_cidrs=("10.96.0.0/16",))
    four = tuple(replace(service, cluster_ips=service.cluster_ips[:1]) for service in single.services)
    assert "ip6" not in render(replace(single, services=four))


def test_a_port_without_a_name_is_named_by_its_number() -> None:
    assert 'comment "default/empty:80"' in render(PROXY)


def test_evaluate_names_the_owner() -> None:
    assert evaluate(PROXY, Packet("10.244.1.9", "10.96.0.20", "TCP", 80)).owner == "default/web:http"


ADDRESSES = st.sampled_from(["10.244.1.2", "10.244.2.2", "10.244.2.3"])
ENDPOINTS = st.lists(ADDRESSES, unique=True).map(
    lambda found: tuple(Endpoint(a, 8080, "worker2") for a in found)
)
PORTS = st.builds(
    ServicePort, st.just("http"), st.just("TCP"), st.just(80), st.sampled_from([0, 30080]), ENDPOINTS
)
ONE_PORT = PORTS.map(lambda port: (port,))
SERVICES = st.builds(Service, st.just("default"), st.just("web"), st.just(("10.96.0.20",)), ONE_PORT)
POLICIES = st.sampled_from(["Cluster", "Local"])
RANGES = st.lists(st.sampled_from(["203.0.113.0/24", "203.0.113.0/25", "10.0.0.0/8"]), unique=True).map(tuple)
MANIFOLD = st.builds(
    Service,
    st.just("default"),
    st.just("web"),
    st.just(("10.96.0.20",)),
    st.builds(lambda port, local: (replace(port, local_endpoints=local),), PORTS, ENDPOINTS),
    st.sampled_from([(), ("192.0.2.7",)]),
    st.sampled_from([(), ("192.0.2.8",)]),
    RANGES,
    st.sampled_from([0, 10, 600]),
    POLICIES,
    POLICIES,
)  # everything that a Service can say, in any combination


@given(SERVICES)
def test_every_endpoint_has_its_element_and_no_other_has(service: Service) -> None:
    desired = ServiceProxy("worker1", (), ("10.244.0.0/16",), ("10.96.0.0/16",), (service,))
    rows = [line for line in render(desired).splitlines() if ". 8080" in line]
    assert len(rows) == len(service.ports[0].endpoints)


@given(MANIFOLD, MANIFOLD)
def test_forth_and_back_touch_the_same_elements(old: Service, new: Service) -> None:
    def commands(a: Service, b: Service, verb: str) -> list[str]:
        text = render_change(replace(PROXY, services=(a,)), replace(PROXY, services=(b,)))
        return [
            line.split(" { ")[0][len(verb) :]
            for line in text.splitlines()
            if line.startswith(f"{verb} element")
        ]

    forth = [place for place in commands(old, new, "add") if not place.endswith("pickers")]
    assert sorted(forth) == sorted(commands(new, old, "delete"))


def test_a_service_of_another_name_leaves_no_element_behind() -> None:
    renamed = replace(WEB, name="shop")
    change = render_change(replace(PROXY, services=(WEB,)), replace(PROXY, services=(renamed,)))
    assert "default/web" not in change
    assert change.count("delete element ip service services") == 1
