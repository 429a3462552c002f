"""Image references: the words after `image:` taken apart, so that every spelling of an image finds one
catalogue row.

    nginx                                   -> docker.io/library/nginx        :latest
    docker.io/library/nginx:1.27            -> docker.io/library/nginx        :1.27
    k8s.gcr.io/e2e-test-images/agnhost:2.40 -> registry.k8s.io/e2e-test-images/agnhost:2.40
    localhost:5000/team/app@sha256:<64 hex> -> localhost:5000/team/app        @sha256:...

Invariant: two references that name the same repository give equal `repository`.
Source: https://pkg.go.dev/github.com/distribution/reference (grammar and the rules of ParseNormalizedNamed).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

DEFAULT_REGISTRY = "docker.io"
# Registries that moved: the old name still stands in many manifests.
MOVED_REGISTRIES = {"k8s.gcr.io": "registry.k8s.io", "index.docker.io": DEFAULT_REGISTRY}
MAX_REPOSITORY = 255

_REGISTRY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::\d+)?"
)
_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}")


class ImageError(ValueError):
    """A container's `image:` cannot be used; the message starts with the kubelet's waiting reason."""


@dataclass(frozen=True)
class Reference:
    """An image reference in full: `repository` as registry/path; `tag` ("" only beside a digest); `digest` or
    "".
    """

    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return self.repository + tag + (f"@{self.digest}" if self.digest else "")


@lru_cache(maxsize=1024)
def parse(image: str) -> Reference:
    """Take an image reference apart and complete it (registry, `library/`, `latest`).

    Raises:
        ImageError: `InvalidImageName …` when the text is no reference.
    """
    name, at, digest = image.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(image, f"bad digest {digest!r}")
    before, colon, tag = name.rpartition(":")
    if colon and "/" not in tag:
        if not _TAG.fullmatch(tag):
            raise _invalid(image, f"bad tag {tag!r}")
        name = before
    else:
        tag = "" if digest else "latest"
    return Reference(_repository(image, name), tag, digest)


def _repository(image: str, name: str) -> str:
    """`name` without tag and digest as registry/path."""
    first, slash, rest = name.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    registry, path = (first, rest) if is_registry else (DEFAULT_REGISTRY, name)
    registry = MOVED_REGISTRIES.get(registry, registry)
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if not _REGISTRY.fullmatch(registry):
        raise _invalid(image, f"bad registry {registry!r}")
    if not _PATH.fullmatch(path):
        wrong = "repository name must be lowercase" if path.lower() != path else f"bad repository {path!r}"
        raise _invalid(image, wrong)
    if len(registry) + 1 + len(path) > MAX_REPOSITORY:
        raise _invalid(image, f"repository longer than {MAX_REPOSITORY} characters")
    return f"{registry}/{path}"


def _invalid(image: str, fact: str) -> ImageError:
    return ImageError(
        f'InvalidImageName: couldn\'t parse image name "{image[:80]}": {fact}: '
        "write [registry/]name[:tag][@digest]"
    )
