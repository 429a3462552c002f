"""The import rule, held over the real files.

topo   netfns   controlplane      import none of each other, and nothing of what stands on them
   \\      |      /
        agents                    the only place where the three meet
          |
labs notebooks tests bench        import anything
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MAY_IMPORT = {
    "topo": {"topo"},
    "netfns": {"netfns"},
    "controlplane": {"controlplane"},
    "agents": {"agents", "topo", "netfns", "controlplane"},
}
OURS = {*MAY_IMPORT, "labs", "notebooks", "tests", "bench"}


def imported_packages(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Line and top-level package of every import in `source`, a file directly inside `package`.

    `importlib.import_module("netfns.dns")` counts too, where the name is written out.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name.partition(".")[0]) for name in names)
            case ast.ImportFrom(module=module, level=0):
                yield node.lineno, (module or "").partition(".")[0]
            case ast.ImportFrom():
                yield node.lineno, package
            case ast.Call(
                func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield node.lineno, name.partition(".")[0]


def violations(root: Path) -> list[str]:
    """`path:line: fact` for every import below `root` that the rule forbids."""
    found = []
    for package, allowed in MAY_IMPORT.items():
        for path in sorted((root / package).rglob("*.py")):
            for line, name in imported_packages(path.read_text(), package):
                if name in OURS - allowed:
                    found.append(f"{path.relative_to(root)}:{line}: {package} must not import {name}")
    return found


def test_packages_keep_the_import_rule() -> None:
    assert violations(CHECKOUT) == []


def test_all_four_packages_are_looked_at() -> None:
    assert [name for name in MAY_IMPORT if not any((CHECKOUT / name).rglob("*.py"))] == []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("netfns/service.py", "from topo.machine import Machine"),
        ("netfns/service.py", "import controlplane.api as api"),
        ("topo/net.py", "def late():\n    import agents.kubelet"),
        ("controlplane/api.py", "import importlib\nimportlib.import_module('netfns.dns')"),
        ("agents/dns.py", "from labs import cli"),
    ],
)
def test_a_forbidden_import_is_found(tmp_path: Path, path: str, line: str) -> None:
    file = tmp_path / path
    file.parent.mkdir()
    file.write_text(line)
    [found] = violations(tmp_path)
    assert found.startswith(f"{path}:")


def test_what_agents_may_import_is_not_reported(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/proxy.py").write_text(
        "import netfns.service\nfrom topo import machine\nfrom . import desired\n"
    )
    assert violations(tmp_path) == []
