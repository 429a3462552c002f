"""The VM: Vagrant takes the Vagrantfile, and its provisioning makes the account. `scripts/vm/try` tries all of it."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.setup.test_scripts import CHECKOUT, stand_in

VAGRANTFILE = (CHECKOUT / "Vagrantfile").read_text()


def test_vagrant_takes_the_vagrantfile(tmp_path: Path) -> None:
    if not shutil.which("vagrant"):
        pytest.skip("vagrant: this distribution has no such package")
    shutil.copy(CHECKOUT / "Vagrantfile", tmp_path)
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=tmp_path,
        env={**os.environ, "VAGRANT_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_box_is_pinned_and_the_port_is_this_hosts_alone() -> None:
    assert len(re.findall(r'\["[\w/-]+", "\d[\d.]+\.\d"\]', VAGRANTFILE)) == 2
    assert re.search(r'"forwarded_port", guest: 8888, host: 8888, host_ip: "127\.0\.0\.1"', VAGRANTFILE)


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, str]:
    """An environment for scripts/vm/provision, in a copy whose paths lead nowhere else: no account, and root's id."""
    clone = tmp_path / "clone"
    shutil.copytree(CHECKOUT / "scripts", clone / "scripts")
    script = clone / "scripts/vm/provision"
    script.write_text(
        script.read_text()
        .replace("/home/vagrant", f"{tmp_path}/vagrant")
        .replace("/etc/profile.d", f"{tmp_path}")
    )
    stand_in(clone / "scripts/setup", f"echo set-up >>{tmp_path}/calls")
    stand_in(clone / "bin/id", "echo ${MINIPOD_TEST_ID:-0}")
    stand_in(clone / "bin/useradd", f"echo useradd $* >>{tmp_path}/calls; mkdir {tmp_path}/student")
    stand_in(
        clone / "bin/getent", f"[ -d {tmp_path}/student ] && echo student:x:1001:1001::{tmp_path}/student:"
    )
    stand_in(clone / "bin/install", f"echo install $* >>{tmp_path}/calls")
    (tmp_path / "vagrant/.ssh").mkdir(parents=True)
    (tmp_path / "vagrant/.ssh/authorized_keys").touch()
    return {**os.environ, "PATH": f"{clone}/bin:{os.environ['PATH']}", "PROVISION": str(script)}


def provision(machine: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run([machine["PROVISION"]], env=machine, capture_output=True, text=True, timeout=30)


def test_provisioning_sets_up_and_makes_the_student_once(machine: dict[str, str], tmp_path: Path) -> None:
    for _ in range(2):
        done = provision(machine)
        assert done.returncode == 0, done.stderr
    calls = (tmp_path / "calls").read_text().splitlines()
    assert calls.count("set-up") == 2
    assert calls.count("useradd --create-home --shell /bin/bash student") == 1
    keys = f"{tmp_path}/student/.ssh/authorized_keys"
    assert f"install -m 600 -o student -g student {tmp_path}/vagrant/.ssh/authorized_keys {keys}" in calls
    assert (tmp_path / "minipod.sh").read_text().endswith("\nexport MINIPOD_NOTEBOOK_IP=0.0.0.0\n")


def test_provisioning_is_not_for_an_ordinary_user(machine: dict[str, str], tmp_path: Path) -> None:
    done = provision({**machine, "MINIPOD_TEST_ID": "1000"})
    assert done.returncode == 2
    assert "not root" in done.stderr
    assert not (tmp_path / "calls").exists()
