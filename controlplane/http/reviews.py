"""Reviews: questions that are posted as objects and answered at once; nothing of them is stored.

    POST selfsubjectaccessreviews    may I do this? (kubectl auth can-i)     always yes: everybody is the lab's owner
    POST selfsubjectrulesreviews     what may I do? (kubectl auth can-i --list)
    POST selfsubjectreviews          who am I? (kubectl auth whoami)

Source: Kubernetes API reference, "Authorization Resources", "Authentication Resources".
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from controlplane.errors import bad_request, method_not_allowed
from controlplane.http.encode import answer, read_body
from controlplane.kinds import Kind
from controlplane.meta import Obj

AUTHORIZATION, AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"
GROUPS = ["system:masters", "system:authenticated"]
EVERYTHING = ["*"]


def _review(name: str, group: str) -> Kind:
    return Kind(name, f"{name.lower()}s", "", group=group, namespaced=False)


REVIEWS = (
    _review("SelfSubjectAccessReview", AUTHORIZATION),
    _review("SelfSubjectRulesReview", AUTHORIZATION),
    _review("SelfSubjectReview", AUTHENTICATION),
)
_BY_PATH = {f"/apis/{kind.api_version}/{kind.plural}": kind for kind in REVIEWS}


def find(path: str) -> Kind | None:
    """The kind of review that is asked for at `path`, if it is one."""
    return _BY_PATH.get(path.rstrip("/"))


async def answer_review(request: web.Request, kind: Kind, user: str) -> web.Response:
    """The review with its answer as status. Raises StatusError 400, 405."""
    if request.method != "POST":
        raise method_not_allowed(f"method {request.method}")
    body = await read_body(request)
    if not isinstance(body, dict) or body.get("kind", kind.name) != kind.name:
        raise bad_request(f"the body must be a {kind.name}")
    review = {"apiVersion": kind.api_version, "kind": kind.name, "metadata": {}}
    spec = {"spec": body["spec"]} if "spec" in body else {}
    return answer(request, {**review, **spec, "status": _status(kind.name, user)}, 201)


def _status(name: str, user: str) -> Obj:
    if name == "SelfSubjectAccessReview":
        return {"allowed": True, "reason": "everything is allowed in a lab"}
    if name == "SelfSubjectReview":
        return {"userInfo": {"username": user, "groups": GROUPS}}
    resource_rule: dict[str, Any] = {"verbs": EVERYTHING, "apiGroups": EVERYTHING, "resources": EVERYTHING}
    return {
        "resourceRules": [resource_rule],
        "nonResourceRules": [{"verbs": EVERYTHING, "nonResourceURLs": EVERYTHING}],
        "incomplete": False,
    }
