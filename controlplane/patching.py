"""Which kind of patch is it? The content type of the request decides.

Source: Kubernetes API concepts, "Patches".
"""

from __future__ import annotations

from typing import Any

from controlplane.errors import StatusError, bad_request
from controlplane.meta import Obj
from controlplane.patch import apply_json_patch, merge
from controlplane.schema.decode import definitions
from controlplane.strategic import strategic_merge

MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"  # server-side apply: see managed/
ACCEPTED = (JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH)


def apply_patch(current: Obj, patch: Any, content_type: str, definition: str) -> Obj:
    """The patched object; `definition` names the schema of its kind. Raises StatusError 400, 415, 422."""
    if content_type == MERGE_PATCH:
        if not isinstance(patch, dict):
            raise bad_request("a merge patch must be an object")
        patched = merge(current, patch)
    elif content_type == JSON_PATCH:
        patched = apply_json_patch(current, patch)
    elif content_type == STRATEGIC_PATCH and definition in definitions():  # custom resources have none
        patched = strategic_merge(current, patch, definition)
    else:
        text = f"the body of the request was in an unknown format - accepted media types include: {', '.join(ACCEPTED)}"
        raise StatusError(415, "UnsupportedMediaType", text)
    if not isinstance(patched, dict):
        raise bad_request("a patch must leave an object")
    return patched
