"""What a securityContext comes to: the words before a program."""

from typing import Any

import pytest

from agents import security
from agents.container_env import ConfigError
from agents.images.catalogue import CODE_ROOT, resolve
from agents.security import NONROOT, rights, sysctls

Obj = dict[str, Any]


@pytest.fixture(autouse=True)
def ids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security, "has_id", lambda number: number < 65536)


def of(pod: Obj | None = None, **own: Any) -> security.Rights:
    return rights({"securityContext": pod or {}}, {"securityContext": own})


def test_who_asks_for_nothing_takes_no_detour() -> None:
    assert of() == security.Rights()
    assert of({"fsGroupChangePolicy": "Always"}).words == ()
    assert of(privileged=True).words == ()


def test_users_and_groups_the_containers_before_the_pods() -> None:
    pod = {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000, "supplementalGroups": [4000]}
    found = of(pod)
    assert found.words == ("/usr/bin/setpriv", "--reuid=1000", "--regid=3000", "--groups=4000,2000", "--")
    assert of(pod, runAsUser=7).user == 7
    assert of(runAsUser=7).words[1:-1] == ("--reuid=7", "--regid=0", "--clear-groups")
    assert of(runAsNonRoot=True).user == NONROOT
    with pytest.raises(ConfigError, match="breaks non-root policy"):
        of({"runAsUser": 0}, runAsNonRoot=True)


def test_an_id_that_the_lab_does_not_have_is_left_out_and_told() -> None:
    found = of(runAsUser=100_000, capabilities={"drop": ["ALL"]})
    assert (found.user, found.words[1:-1]) == (0, ("--bounding-set=-all",))
    assert "100000" in found.unable[0]


@pytest.mark.parametrize(
    ("capabilities", "wanted"),
    [
        ({"drop": ["ALL"]}, "-all"),
        ({"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}, "-all,+net_bind_service"),
        ({"add": ["ALL"]}, None),
        ({}, None),
    ],
)
def test_capabilities(capabilities: Obj, wanted: str | None) -> None:
    words = of(capabilities=capabilities).words
    assert words[1:-1] == (() if wanted is None else (f"--bounding-set={wanted}",))


def test_what_a_runtime_gives_but_for_what_is_dropped() -> None:
    for word in of(capabilities={"drop": ["CAP_NET_RAW"], "add": ["NET_ADMIN"]}).words[1:-1]:
        assert "+chown" in word
        assert "+net_admin" in word
        assert "net_raw" not in word


def test_only_who_asks_for_more_than_every_container_has_is_not_confined() -> None:
    assert of().confined
    assert of({"runAsUser": 5}, capabilities={"add": ["CHOWN"], "drop": ["ALL"]}).confined
    assert not of(privileged=True).confined
    assert not of(capabilities={"add": ["SYS_TIME"]}).confined
    assert not of(capabilities={"add": ["ALL"]}).confined


def test_a_stand_in_with_rights_of_its_own_is_executed() -> None:
    program = resolve("nginx", None, None)
    assert security.command(of(), program, ["nginx"]) == (["nginx"], program.standin)
    argv, standin = security.command(of(runAsUser=1), program, ["nginx", "-g", "x"])
    assert standin == ""
    assert argv[-4:] == [f"{CODE_ROOT}/agents/images", "nginx", "-g", "x"]


def test_low_ports_are_everybodys_where_somebody_is_not_root() -> None:
    spec = {"containers": [{"name": "c", "securityContext": {"runAsUser": 5}}]}
    assert sysctls({"spec": spec}) == {security.LOW_PORTS: "0"}
    asked = {
        "sysctls": [
            {"name": "net.core.somaxconn", "value": "99"},
            {"name": "kernel.shm_rmid_forced", "value": "1"},
        ]
    }
    assert sysctls({"spec": {"containers": [{"name": "c"}], "securityContext": asked}}) == {
        "net.core.somaxconn": "99"
    }
    assert sysctls({"spec": {**spec, "hostNetwork": True}}) == {}
