"""What the API server says when it refuses: Kubernetes' Status object, as an exception.

Every refusal has a code (HTTP), a reason (one word that programs read) and a message (a line that people
read). A refusal because of an object's content also has causes: one for each field, with its path. The
wording is Kubernetes' own, so what a student meets here is what they will meet in a real cluster.

Sources: Kubernetes API conventions, "Response Status Kind"; k8s.io/apimachinery pkg/api/errors and
pkg/util/validation/field (the words `Required value`, `Invalid value`, `Unsupported value` …).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]


class StatusError(Exception):
    """A refusal. `code` is the HTTP status, `details` may hold name, group, kind, causes and
    retryAfterSeconds.
    """

    def __init__(self, code: int, reason: str, message: str, details: Obj | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details or {}

    def status(self) -> Obj:
        """The v1 Status object that goes over the wire."""
        status: Obj = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if self.details:
            status["details"] = self.details
        return status


@dataclass(frozen=True)
class FieldError:
    """One thing that is wrong with one field: `field` is its path, e.g. `spec.ports[0].port`."""

    reason: str
    field: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


class FieldErrors:
    """Collects what a validator finds; every method adds one error with the words of k8s.io/apimachinery's
    `field` package.
    """

    def __init__(self) -> None:
        self.items: list[FieldError] = []

    def __bool__(self) -> bool:
        return bool(self.items)

    def required(self, field: str, detail: str = "") -> None:
        """A value is missing."""
        self._add("FieldValueRequired", field, "Required value", detail)

    def invalid(self, field: str, value: Any, detail: str) -> None:
        """A value that cannot be."""
        self._add("FieldValueInvalid", field, f"Invalid value: {quote(value)}", detail)

    def duplicate(self, field: str, value: Any) -> None:
        """The same value twice."""
        self._add("FieldValueDuplicate", field, f"Duplicate value: {quote(value)}")

    def forbidden(self, field: str, detail: str) -> None:
        """A field that may not be set, or not now."""
        self._add("FieldValueForbidden", field, "Forbidden", detail)

    def not_found(self, field: str, value: Any) -> None:
        """A name that leads nowhere."""
        self._add("FieldValueNotFound", field, f"Not found: {quote(value)}")

    def too_long(self, field: str, limit: int) -> None:
        """More bytes than allowed."""
        self._add("FieldValueTooLong", field, f"Too long: may not be more than {limit} bytes")

    def too_many(self, field: str, actual: int, limit: int) -> None:
        """More items than allowed."""
        self._add("FieldValueTooMany", field, f"Too many: {actual}", f"must have at most {limit} items")

    def unsupported(self, field: str, value: Any, supported: Iterable[str]) -> None:
        """A word that is none of the few allowed ones."""
        choices = ", ".join(quote(choice) for choice in sorted(supported))
        self._add(
            "FieldValueNotSupported",
            field,
            f"Unsupported value: {quote(value)}",
            f"supported values: {choices}",
        )

    def _add(self, reason: str, field: str, message: str, detail: str = "") -> None:
        self.items.append(FieldError(reason, field, f"{message}: {detail}" if detail else message))


def quote(value: Any) -> str:
    """A value as Kubernetes prints it inside a message: strings in double quotes, the rest as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def invalid(kind: str, group: str, name: str, errors: Sequence[FieldError]) -> StatusError:
    """422: the object was understood, but its content is wrong."""
    texts = [str(error) for error in errors]
    text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    causes = [{"reason": error.reason, "message": error.message, "field": error.field} for error in errors]
    qualified = f"{kind}.{group}" if group else kind
    details = {"name": name, "group": group, "kind": kind, "causes": causes}
    return StatusError(422, "Invalid", f"{qualified} {quote(name)} is invalid: {text}", _slim(details))


def not_found(resource: str, group: str, name: str) -> StatusError:
    """404: no such object. `resource` is the plural, e.g. `pods`."""
    details = {"name": name, "group": group, "kind": resource}
    return StatusError(
        404, "NotFound", f"{_qualified(resource, group)} {quote(name)} not found", _slim(details)
    )


def already_exists(resource: str, group: str, name: str) -> StatusError:
    """409: create, but the name is taken."""
    details = {"name": name, "group": group, "kind": resource}
    return StatusError(
        409, "AlreadyExists", f"{_qualified(resource, group)} {quote(name)} already exists", _slim(details)
    )


def conflict(resource: str, group: str, name: str, why: str) -> StatusError:
    """409: the object is no longer what the writer thinks."""
    message = f"Operation cannot be fulfilled on {_qualified(resource, group)} {quote(name)}: {why}"
    return StatusError(409, "Conflict", message, _slim({"name": name, "group": group, "kind": resource}))


MODIFIED = "the object has been modified; please apply your changes to the latest version and try again"


def forbidden(resource: str, group: str, name: str, why: str) -> StatusError:
    """403: not allowed for this object now (a namespace that is going away, an immutable thing …)."""
    message = f"{_qualified(resource, group)} {quote(name)} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, _slim({"name": name, "group": group, "kind": resource}))


def bad_request(message: str, causes: Sequence[FieldError] = ()) -> StatusError:
    """400: the request itself makes no sense."""
    listed = [{"reason": cause.reason, "message": cause.message, "field": cause.field} for cause in causes]
    return StatusError(400, "BadRequest", message, {"causes": listed} if listed else None)


def expired(message: str) -> StatusError:
    """410: a resource version that history no longer reaches."""
    return StatusError(410, "Expired", message)


def too_large_version(version: int, current: int) -> StatusError:
    """504: a resource version of the future."""
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    text = f"Too large resource version: {version}, current: {current}"
    return StatusError(504, "Timeout", text, {"retryAfterSeconds": 1, "causes": [cause]})


def method_not_allowed(what: str) -> StatusError:
    """405."""
    return StatusError(405, "MethodNotAllowed", f"{what} is not supported on resources of this kind")


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _slim(details: Obj) -> Obj:
    return {key: value for key, value in details.items() if value}
