from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from agents.images.catalogue import CATALOGUE, Catalogue, ImageError, default_catalogue, resolve
from agents.images.standins import STANDINS, load, preload

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    ("image", "command", "args", "argv", "standin"),
    [
        ("registry.k8s.io/e2e-test-images/agnhost:2.53", None, None, ("/agnhost", "pause"), "agnhost"),
        ("k8s.gcr.io/e2e-test-images/agnhost", None, ["netexec"], ("/agnhost", "netexec"), "agnhost"),
        ("agnhost", ["/agnhost", "porter"], None, ("/agnhost", "porter"), "agnhost"),
        ("nginx:1.27", None, None, ("nginx", "-g", "daemon off;"), "nginx"),
        ("nginx", ["nginx"], ["-g", "daemon off;"], ("nginx", "-g", "daemon off;"), "nginx"),
        (
            "nginx",
            ["/bin/sh", "-c", "nginx -g 'daemon off;'"],
            None,
            ("/bin/sh", "-c", "nginx -g 'daemon off;'"),
            "",
        ),
        ("nginx", ["/docker-entrypoint.sh", "nginx"], [], ("/docker-entrypoint.sh", "nginx"), ""),
        ("busybox:1.36", None, None, ("sh",), ""),
        ("busybox", [], ["sleep", "3600"], ("sleep", "3600"), ""),
        ("busybox", ["sh", "-c"], ["sleep 5"], ("sh", "-c", "sleep 5"), ""),
        ("gcr.io/google-samples/hello-app:1.0", None, None, ("./hello-app",), "hello-app"),
        ("hashicorp/http-echo", None, ["-text=hi"], ("/http-echo", "-text=hi"), "http-echo"),
        ("redis:7", None, ["--requirepass", "x"], ("redis-server", "--requirepass", "x"), "redis-server"),
        ("redis", None, ["redis-cli", "ping"], ("redis-cli", "ping"), "redis-cli"),
        ("postgres:16", None, None, ("postgres", "TCP:5432", "TCP:9999"), "generic"),
        ("registry.k8s.io/pause:3.9", None, None, ("/pause",), "pause"),
        (
            "registry.k8s.io/coredns/coredns:v1.11",
            None,
            ["-conf", "/f"],
            ("/coredns", "-conf", "/f"),
            "coredns",
        ),
        ("registry.k8s.io/serve_hostname", None, None, ("/serve-hostname", "serve-hostname"), "agnhost"),
        ("curlimages/curl", None, ["-s", "http://web"], ("curl", "-s", "http://web"), ""),
    ],
)
def test_known_images(
    image: str, command: list[str] | None, args: list[str] | None, argv: tuple[str, ...], standin: str
) -> None:
    program = resolve(image, command, args, [{"containerPort": 9999}])
    assert program.argv == argv
    assert program.standin == (STANDINS[standin] if standin else "")
    assert program.known
    assert program.env["PATH"]


@pytest.mark.parametrize(
    ("command", "args", "ports", "argv"),
    [
        (None, None, [80], ("generic", "--image=team/app:v1", "TCP:80")),
        (["/app/server"], ["--x"], [8080], ("generic", "--image=team/app:v1", "TCP:8080")),
        (
            None,
            ["--flag"],
            [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53}],
            ("generic", "--image=team/app:v1", "UDP:53", "TCP:53"),
        ),
        (None, None, [], ("generic", "--image=team/app:v1")),
    ],
)
def test_an_unknown_image_gets_the_generic_standin(
    command: list[str] | None, args: list[str] | None, ports: list[Any], argv: tuple[str, ...]
) -> None:
    program = resolve("team/app:v1", command, args, ports)
    assert (program.argv, program.standin, program.known) == (argv, STANDINS["generic"], False)
    assert program.note.startswith("image team/app:v1: not in the catalogue: a stand-in ")


def test_an_unknown_images_own_command_runs_when_it_exists() -> None:
    program = resolve("team/app", ["sleep"], ["9"], [80])
    assert (program.argv, program.standin, program.known) == (("sleep", "9"), "", False)


def test_a_known_images_missing_command_is_left_to_fail_at_the_start() -> None:
    assert resolve("nginx", ["/no/such"], None, []).argv == ("/no/such",)


def test_a_bad_reference_is_refused() -> None:
    with pytest.raises(ImageError, match="InvalidImageName"):
        resolve("UPPER", None, None, [])


def test_every_row_resolves_and_names_its_source() -> None:
    for row in default_catalogue().rows:
        assert row.source.startswith("https://"), row.match
        name = row.match[0].replace("*", "registry.io")
        program = resolve(name, None, None, [])
        assert program.known, name
        assert program.argv, name


@pytest.mark.parametrize("name", sorted(name for name in STANDINS if name != "coredns"))
def test_every_standin_can_be_loaded(name: str) -> None:
    assert callable(load(STANDINS[name]))


def test_the_warm_parent_has_no_threading() -> None:
    preload()
    code = (
        "import sys; from agents.images.standins import preload; preload();"
        "print(sorted({'threading', 'subprocess', 'random', 'yaml', 'asyncio'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_binaries_are_executables_that_run_the_standin(tmp_path: Path) -> None:
    files = resolve("agnhost", None, None, [], code_root=str(ROOT)).files
    script = tmp_path / "agnhost"
    script.write_text(files["/agnhost"].text)
    script.chmod(files["/agnhost"].mode)
    done = subprocess.run(
        [script, "entrypoint-tester", "a b"], capture_output=True, text=True, timeout=10, check=True
    )
    assert done.stdout == "[/agnhost entrypoint-tester a b]\n"


def test_applets_are_busybox(tmp_path: Path) -> None:
    files = resolve("busybox", None, None, []).files
    assert files["/usr/bin/ping"].text == '#!/bin/sh\nexec busybox ping "$@"\n'
    assert "/usr/bin/ping" not in resolve("debian", None, None, []).files
    assert resolve("busybox", None, None, []).files is files  # shared by the containers of an image


def test_an_own_catalogue_comes_first(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text("images:\n- match: [nginx]\n  cmd: [sleep, '1']\n")
    catalogue = Catalogue(own, CATALOGUE)
    assert resolve("nginx", None, None, [], catalogue=catalogue).argv == ("sleep", "1")
    assert resolve("redis", None, None, [], catalogue=catalogue).argv == ("redis-server",)


@pytest.mark.parametrize(
    ("row", "fact"),
    [
        ("{match: [x], cmdd: [sh]}", "cmdd"),
        ("{cmd: [sh]}", "match"),
        ("{match: [x], binaries: {/x: nosuch}}", "no stand-in 'nosuch'"),
    ],
)
def test_a_wrong_row_is_named(tmp_path: Path, row: str, fact: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(f"images:\n- {row}\n")
    with pytest.raises(ValueError, match=rf"own.yaml: images\[0\].*{fact}"):
        Catalogue(path)


@pytest.mark.parametrize(
    "image", ["busybox:1.28", "alpine", "tutum/dnsutils", "agnhost", "nginx", "curlimages/curl"]
)
@pytest.mark.parametrize("name", ["nc", "nslookup", "wget"])
def test_images_with_applets_have_the_clients(image: str, name: str) -> None:
    files = resolve(image, None, None, []).files
    assert files[f"/usr/bin/{name}"].text.endswith(f'/agents/images {name} "$@"\n')
    assert resolve(image, [name], ["x"], []).standin == STANDINS[name]
