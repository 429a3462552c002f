from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.images.reference import ImageError, parse

DIGEST = "sha256:" + "0a" * 32


@pytest.mark.parametrize(
    ("image", "repository", "tag", "digest"),
    [
        ("nginx", "docker.io/library/nginx", "latest", ""),
        ("nginx:1.27-alpine", "docker.io/library/nginx", "1.27-alpine", ""),
        ("docker.io/nginx", "docker.io/library/nginx", "latest", ""),
        ("index.docker.io/library/nginx", "docker.io/library/nginx", "latest", ""),
        ("hashicorp/http-echo:1.0", "docker.io/hashicorp/http-echo", "1.0", ""),
        ("k8s.gcr.io/e2e-test-images/agnhost:2.40", "registry.k8s.io/e2e-test-images/agnhost", "2.40", ""),
        ("localhost:5000/app", "localhost:5000/app", "latest", ""),
        ("localhost/app:v1", "localhost/app", "v1", ""),
        (f"nginx@{DIGEST}", "docker.io/library/nginx", "", DIGEST),
        (f"reg.io:443/a/b_c/d-e:1@{DIGEST}", "reg.io:443/a/b_c/d-e", "1", DIGEST),
    ],
)
def test_every_spelling_names_one_repository(image: str, repository: str, tag: str, digest: str) -> None:
    reference = parse(image)
    assert (reference.repository, reference.tag, reference.digest) == (repository, tag, digest)
    assert parse(str(reference)) == reference


@pytest.mark.parametrize(
    "image",
    [
        "",
        " ",
        "Nginx",
        "nginx:",
        "nginx:bad tag",
        "nginx@sha256:12",
        "a//b",
        "/nginx",
        "nginx/",
        "-x",
        "reg.io:x/app",
        "a" * 300,
    ],
)
def test_bad_references_are_invalid_image_names(image: str) -> None:
    with pytest.raises(ImageError, match=r"^InvalidImageName: .*: write \[registry/\]name"):
        parse(image)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    try:
        reference = parse(text)
    except ImageError:
        return
    assert parse(str(reference)) == reference
