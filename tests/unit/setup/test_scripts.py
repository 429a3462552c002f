"""The set-up scripts, on a copy of the checkout and with stand-ins for what would change the machine."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[3]
COMMANDS = ("setup", "demo", "test", "check", "bench", "minipod")
SHELL = [CHECKOUT / ".ci/run", *(CHECKOUT / "scripts" / name for name in COMMANDS)]
SHELL += [*sorted((CHECKOUT / "scripts/lib").glob("*.sh")), *sorted((CHECKOUT / "scripts/vm").iterdir())]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A copy of what the scripts need, in which they can be changed."""
    shutil.copytree(CHECKOUT / "scripts", tmp_path / "clone/scripts")
    shutil.copytree(CHECKOUT / "requirements", tmp_path / "clone/requirements")
    return tmp_path / "clone"


def stand_in(path: Path, text: str) -> None:
    """Put an executable shell script in a program's place."""
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)


def library(clone: Path, lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run shell lines after sourcing the functions of scripts/setup."""
    names = ("common", "packages", "kernel", "python", "command")
    sources = "\n".join(f". {clone}/scripts/lib/{name}.sh" for name in names)
    return subprocess.run(
        ["bash", "-c", f"{sources}\n{lines}"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=30,
    )


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_shell_scripts_parse(path: Path) -> None:
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("path", SHELL[: len(COMMANDS) + 1], ids=lambda path: path.name)
def test_commands_are_executable(path: Path) -> None:
    assert path.stat().st_mode & 0o111 == 0o111


def table(name: str, columns: int) -> list[list[str]]:
    lines = (CHECKOUT / "scripts" / name).read_text().splitlines()
    return [line.split(maxsplit=columns - 1) for line in lines if line and not line.startswith("#")]


def test_every_package_says_what_is_lost_without_it() -> None:
    packages = table("packages.txt", 4)
    assert all(len(row) == 4 and row[1] in {"core", "wanted", "test"} for row in packages)
    assert len({row[0] for row in packages}) == len(packages)


def test_every_module_says_what_is_lost_without_it() -> None:
    assert all(len(row) == 2 for row in table("modules.txt", 2))


def with_packages(clone: Path, installed: str) -> dict[str, str]:
    """An environment in which dpkg knows only these packages, and the table has three rows."""
    (clone / "scripts/packages.txt").write_text(
        "# comment\n\nalpha core - nothing runs\nbeta|beta-static wanted - no beta\n"
        "gamma wanted gammad no gamma\n"
    )
    lines = "".join(f"ii {name}\\n" for name in installed.split())
    stand_in(clone / "bin/dpkg-query", f"printf '{lines}rc alpha\\n'")
    return {"PATH": f"{clone}/bin:{os.environ['PATH']}"}


def test_missing_packages_are_those_without_an_installed_alternative(clone: Path) -> None:
    done = library(clone, "missing_packages", **with_packages(clone, "beta-static"))
    assert done.stdout.splitlines() == ["alpha core - nothing runs", "gamma wanted gammad no gamma"]


def test_packages_for_tests_are_missing_only_when_tests_are_wanted(clone: Path) -> None:
    environment = with_packages(clone, "alpha beta gamma")
    with (clone / "scripts/packages.txt").open("a") as packages:
        packages.write("delta test - no test of delta\n")
    assert library(clone, "missing_packages", **environment).stdout == ""
    assert library(clone, "TESTS=yes; missing_packages", **environment).stdout.startswith("delta test")


def test_a_wanted_package_that_is_missing_is_named_and_set_up_goes_on(clone: Path) -> None:
    done = library(clone, 'report_missing "$(missing_packages)"', **with_packages(clone, "alpha beta"))
    assert done.returncode == 0
    assert done.stderr == "set-up: package gamma is not installed: without it: no gamma\n"


def test_a_core_package_that_is_missing_stops_the_set_up(clone: Path) -> None:
    done = library(
        clone, 'report_missing "$(missing_packages)"; echo on', **with_packages(clone, "beta gamma")
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "package alpha is not installed: without it: nothing runs" in done.stderr


@pytest.mark.parametrize("before", ["#!/bin/sh\nexit 104\n", None])
def test_the_rule_about_service_starts_is_put_back(clone: Path, tmp_path: Path, before: str | None) -> None:
    policy = tmp_path / "policy-rc.d"
    if before is not None:
        policy.write_text(before)
        policy.chmod(0o750)
    killed = library(clone, f"POLICY={policy}; forbid_service_starts; {policy} || echo $?; kill -9 $$")
    assert killed.stdout == "101\n"
    again = library(
        clone, f"POLICY={policy}; forbid_service_starts; {policy} || echo $?; permit_service_starts"
    )
    assert again.stdout == "101\n"
    if before is None:
        assert not policy.exists()
    else:
        assert (policy.read_text(), stat.S_IMODE(policy.stat().st_mode)) == (before, 0o750)
    assert [path.name for path in tmp_path.iterdir() if "before" in path.name] == []


def test_services_that_came_with_packages_are_switched_off_even_after_a_kill(clone: Path) -> None:
    environment = with_packages(clone, "alpha beta")
    stand_in(clone / "bin/deb-systemd-helper", f"echo $* >>{clone}/calls")
    pending = f"PENDING={clone}/state/pending"
    library(clone, f'{pending}; plan_to_switch_off "$(missing_packages)"; kill -9 $$', **environment)
    assert not (clone / "calls").exists()
    library(clone, f"{pending}; switch_off_what_is_planned; switch_off_what_is_planned", **environment)
    assert (clone / "calls").read_text() == "disable gammad.service\n"


def with_kernel(clone: Path) -> dict[str, str]:
    """An environment whose kernel has `alpha` built in, can load `beta_b` and lacks `gamma`."""
    (clone / "scripts/modules.txt").write_text("alpha no alpha\nbeta_b no beta\ngamma no gamma\n")
    (clone / "lib").mkdir()
    (clone / "lib/modules.dep").touch()
    (clone / "lib/modules.builtin").write_text("kernel/net/alpha.ko\n")
    stand_in(clone / "bin/modprobe", f"echo $2 >>{clone}/asked; [ $2 = beta_b ]")
    return {"PATH": f"{clone}/bin:{os.environ['PATH']}"}


def test_modules_that_are_not_there_are_loaded_and_kept_for_the_next_boot(clone: Path) -> None:
    environment = with_kernel(clone)
    load = f"MODULE_FOLDER={clone}/lib MODULES_LOAD={clone}/etc/minipod.conf; load_modules"
    done = library(clone, load, **environment)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "set-up: kernel module gamma does not load: without it: no gamma\n"
    assert (clone / "asked").read_text().split() == ["beta_b", "gamma"]
    assert (clone / "etc/minipod.conf").read_text().splitlines()[1:] == ["alpha", "beta_b"]


def test_only_settings_that_forbid_sandboxes_are_changed_and_kept(clone: Path) -> None:
    for key, value in (("kernel/unprivileged_userns_clone", "0"), ("user/max_user_namespaces", "9000")):
        path = clone / "sys" / key
        path.parent.mkdir(parents=True)
        path.write_text(f"{value}\n")
    permit = f"SYSCTLS={clone}/sys SYSCTL_FILE={clone}/etc/60.conf; permit_user_namespaces"
    assert library(clone, permit).returncode == 0
    assert (clone / "sys/kernel/unprivileged_userns_clone").read_text() == "1\n"
    assert (clone / "sys/user/max_user_namespaces").read_text() == "9000\n"
    assert (clone / "etc/60.conf").read_text().splitlines()[1:] == ["kernel.unprivileged_userns_clone = 1"]
    again = library(clone, permit)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")


def test_the_environment_has_another_name_when_a_lock_changes(clone: Path) -> None:
    first = library(clone, "venv_name").stdout
    assert first == library(clone, "venv_name").stdout
    assert first.startswith("venv-python3.")
    with (clone / "requirements/minipod.txt").open("a") as lock:
        lock.write("another==1.0\n")
    assert library(clone, "venv_name").stdout != first


def test_minipod_names_the_next_step_where_set_up_has_not_run(clone: Path) -> None:
    (clone / "requirements/minipod.txt").write_text("another==1.0\n")
    done = subprocess.run([clone / "scripts/minipod", "ls"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"not made yet: call {clone}/scripts/setup\n")
    assert done.stderr.count("\n") == 1


def test_bench_refuses_a_name_that_it_does_not_have(clone: Path) -> None:
    (clone / "bench").mkdir()
    (clone / "bench/pods.py").touch()
    done = subprocess.run([clone / "scripts/bench", "pod"], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (2, "scripts/bench: pod: no such bench: take one of: pods\n")


READY = '{"spec": {"replicas": 2}, "status": {"readyReplicas": 2}, "metadata": {}}'
WAITING = '{"spec": {}, "status": {}, "metadata": {"namespace": "shop", "name": "web"}}'


def demo(
    clone: Path, labs: str = "[]", deployments: str = "", then: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run scripts/demo on a machine that lacks nothing, with a `minipod` that records what it is asked to do.

    labs and deployments: what `minipod ls` and `kubectl get` answer; then: shell lines for all other commands.
    """
    stand_in(clone / "scripts/setup", "exit 0")
    script = f"""[ $1 != kubectl ] || shift 3  # kubectl --name demo WORD
    case $1 in
        ls) echo '{labs.replace("CLONE", str(clone))}' ;;
        get) echo '{{"items": [{deployments}]}}' ;;
        *) echo $1 >>{clone}/calls
           {then} ;;
    esac"""
    stand_in(clone / "scripts/minipod", script)
    environment = {**os.environ, "MINIPOD_DEMO_SECONDS": "0"}
    return subprocess.run(
        [clone / "scripts/demo"], capture_output=True, text=True, timeout=30, env=environment
    )


@pytest.mark.parametrize(
    ("labs", "calls"),
    [
        ("[]", ["down", "up", "apply", "check", "check"]),
        ('[{"name": "demo", "checkout": "/elsewhere"}]', ["down", "up", "apply", "check", "check"]),
        ('[{"name": "other", "checkout": "CLONE"}]', ["down", "up", "apply", "check", "check"]),
        ('[{"name": "demo", "checkout": "CLONE"}]', ["status", "apply", "check", "check"]),
    ],
)
def test_demo_uses_its_own_lab_again_and_replaces_any_other(clone: Path, labs: str, calls: list[str]) -> None:
    done = demo(clone, labs, READY)
    assert (clone / "calls").read_text().split() == calls
    assert done.returncode == 0
    assert "To try next:" in done.stdout


def test_demo_replaces_its_lab_when_it_does_not_answer(clone: Path) -> None:
    demo(clone, '[{"name": "demo", "checkout": "CLONE"}]', READY, then="[ $1 != status ]")
    assert (clone / "calls").read_text().split() == ["status", "down", "up", "apply", "check", "check"]


def test_demo_names_what_does_not_become_ready(clone: Path) -> None:
    done = demo(clone, deployments=f"{READY}, {WAITING}")
    assert done.returncode == 2
    assert done.stderr == "demo: not ready: shop/web: see minipod kubectl --name demo get pods -A\n"
    assert "check" not in (clone / "calls").read_text().split()


@pytest.mark.parametrize(("command", "status"), [("up", 2), ("apply", 2), ("check", 1)])
def test_demo_fails_as_the_command_that_failed(clone: Path, command: str, status: int) -> None:
    assert demo(clone, then=f"[ $1 != {command} ] || exit {status}").returncode == status
