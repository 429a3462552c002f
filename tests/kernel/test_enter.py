"""Going into namespaces from a process that has other threads, as a lab's supervisor has."""

import sys

import pytest

from tests.kernel.cluster import REPOSITORY, Machine

pytestmark = pytest.mark.kernel
# A new thread shares its maker's root folder again, and setns(2) lets nobody into a mount namespace who shares one.
TWICE = """
import sys, threading
sys.path.insert(0, sys.argv[1])
from topo.enter import MOUNT, NETWORK, Namespaces
here = Namespaces.of_thread(MOUNT | NETWORK)
with here.entered():
    pass
done = threading.Event()
threading.Thread(target=done.wait, daemon=True).start()
try:
    with here.entered():
        print("entered")
finally:
    done.set()
"""


def test_a_thread_enters_again_after_it_has_started_another(kernel: Machine) -> None:
    assert kernel.run([sys.executable, "-c", TWICE, str(REPOSITORY)]) == "entered\n"
