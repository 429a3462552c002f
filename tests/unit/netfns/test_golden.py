"""What is rendered is what was reviewed: `pytest --golden-update` rewrites the files, and a reader judges
the difference.
"""

import pytest

from tests.golden.cases import FOLDER, GOLDEN


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name: str, request: pytest.FixtureRequest) -> None:
    text = GOLDEN[name]()
    if request.config.getoption("--golden-update"):
        (FOLDER / name).write_text(text)
    assert text == (FOLDER / name).read_text()


def test_every_golden_file_has_its_case() -> None:
    assert {path.name for path in FOLDER.iterdir() if path.is_file()} - {"cases.py"} == set(GOLDEN)
