"""Every kernel test gets namespaces of its own; a module's tests share one small cluster."""

from collections.abc import Iterator

import pytest

from tests.kernel.cluster import Machine, Sandbox, build, new_machine


@pytest.fixture
def kernel() -> Iterator[Machine]:
    """One machine in fresh namespaces."""
    sandbox = Sandbox()
    yield new_machine(sandbox, "node")
    sandbox.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, Machine]]:
    """Two nodes, three pods, a router and the machine `outside` (cluster.py), by name."""
    sandbox = Sandbox()
    yield build(sandbox)
    sandbox.close()
