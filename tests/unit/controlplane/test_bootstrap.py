"""What a new cluster contains, in each order of its address families."""

import pytest

from controlplane.manager import ControlPlane

IPV4, IPV6 = "10.96.0.0/16", "fd00:96::/112"
FIRST = {
    (IPV4,): ("10.96.0.1", "10.96.0.10", "IPv4", "192.168.50.10"),
    (IPV4, IPV6): ("10.96.0.1", "10.96.0.10", "IPv4", "192.168.50.10"),
    (IPV6, IPV4): ("fd00:96::1", "fd00:96::a", "IPv6", "fd00:50::10"),
}


@pytest.mark.parametrize("ranges", FIRST, ids=" ".join)
def test_the_clusters_own_services_have_one_address_of_the_first_family(ranges: tuple[str, ...]) -> None:
    control_plane = ControlPlane(service_ranges=ranges)
    control_plane.start()
    api = control_plane.api
    kubernetes, dns, family, server = FIRST[ranges]
    for name, namespace, address in (("kubernetes", "default", kubernetes), ("kube-dns", "kube-system", dns)):
        spec = api.get("Service", name, namespace)["spec"]
        assert (spec["clusterIPs"], spec["ipFamilies"]) == ([address], [family])
        assert spec["ipFamilyPolicy"] == "SingleStack"
    endpoint_slice = api.get("EndpointSlice", "kubernetes", "default")
    assert endpoint_slice["addressType"] == family
    assert endpoint_slice["endpoints"][0]["addresses"] == [server]
    subset = api.get("Endpoints", "kubernetes", "default")["subsets"][0]
    assert subset["addresses"] == [{"ip": server}]
