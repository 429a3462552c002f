"""Whatever the packages import from others is named in pyproject.toml, in the right place."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

CHECKOUT = Path(__file__).resolve().parents[3]
PACKAGES = ("topo", "netfns", "controlplane", "agents", "labs")
OURS = {*PACKAGES, "bench", "tests", "notebooks"}
# Modules whose distribution has another name.
DISTRIBUTION = {
    "dns": "dnspython",
    "yaml": "pyyaml",
    "distutils": "setuptools",
    "pkg_resources": "setuptools",
}
# Files that only an extra's user runs: a glob of paths -> the extra.
EXTRA = {
    "topo/ryu_launcher.py": "ryu",
    "labs/*/checks.py": "test",
    "labs/checking/plugin.py": "test",
    "labs/walk.py": "notebook",
}


def declared(extra: str = "") -> set[str]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + (project["optional-dependencies"][extra] if extra else [])
    return {canonicalize_name(Requirement(text).name) for text in wanted}


def foreign_imports(path: Path) -> set[str]:
    """Distributions that one file imports from; the standard library and this repository left out."""
    modules: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            modules.add(node.module)
    top = {module.partition(".")[0] for module in modules} - OURS - (sys.stdlib_module_names - {"distutils"})
    return {canonicalize_name(DISTRIBUTION.get(name, name)) for name in top}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_foreign_import_is_declared(package: str) -> None:
    undeclared = []
    for path in sorted((CHECKOUT / package).rglob("*.py")):
        relative = path.relative_to(CHECKOUT)
        extra = next((extra for glob, extra in EXTRA.items() if relative.match(glob)), "")
        undeclared += [f"{relative}: {name}" for name in foreign_imports(path) - declared(extra)]
    assert undeclared == []


def test_an_undeclared_import_would_be_found(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("import os, yaml\nfrom requests.adapters import X\nimport topo.net\n")
    assert foreign_imports(file) == {"pyyaml", "requests"}
    assert foreign_imports(file) - declared() == {"requests"}
