"""Tokens of service accounts: `kubectl create token NAME`, and `Authorization: Bearer …` where the API server answers.

    POST serviceaccounts/NAME/token --> header.claims.signature     a JSON Web Token, signed with the lab's own key
    sub: system:serviceaccount:NAMESPACE:NAME     exp: when it ends

Source: Kubernetes documentation "Managing Service Accounts"; API reference, TokenRequest; RFC 7519; RFC 7518, HS256.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from controlplane.api import API
from controlplane.errors import FieldErrors, bad_request, invalid, method_not_allowed
from controlplane.http.encode import answer, read_body
from controlplane.http.target import Handler, Target
from controlplane.meta import Obj, timestamp

HOUR, SHORTEST, LONGEST = 3600, 600, 1 << 32  # seconds
SUBJECT = "system:serviceaccount:"
ISSUER = "https://kubernetes.default.svc.cluster.local"
_HEADER = {"alg": "HS256", "typ": "JWT"}


def sign(key: str, claims: Obj) -> str:
    """A token that says `claims`."""
    body = f"{_encode(json.dumps(_HEADER).encode())}.{_encode(json.dumps(claims).encode())}"
    return f"{body}.{_signature(key, body)}"


def claims_of(key: str, token: str) -> Obj | None:
    """What a token says; None when it was signed with another key, or is over."""
    body, _, signature = token.rpartition(".")
    if not token.isascii() or not hmac.compare_digest(_signature(key, body), signature):
        return None
    text = body.partition(".")[2]
    claims: Obj = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return claims if claims["exp"] > time.time() else None


def account_token(
    api: API, key: str, namespace: str, name: str, seconds: int, audiences: Sequence[str] = ()
) -> str:
    """A service account's token, good for so many seconds. Raises StatusError 404."""
    account = api.get("ServiceAccount", name, namespace)
    born = int(time.time())
    bound = {"namespace": namespace, "serviceaccount": {"name": name, "uid": account["metadata"]["uid"]}}
    claims = {
        "iss": ISSUER,
        "sub": f"{SUBJECT}{namespace}:{name}",
        "aud": list(audiences) or [ISSUER],
        "iat": born,
        "nbf": born,
        "exp": born + seconds,
        "kubernetes.io": bound,
    }
    return sign(key, claims)


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signature(key: str, body: str) -> str:
    return _encode(hmac.digest(key.encode(), body.encode(), hashlib.sha256))


def token_handler(api: API, key: str) -> Handler:
    """Answers the subresource `token` of service accounts."""

    async def handle(request: web.Request, target: Target) -> web.StreamResponse:
        if request.method != "POST":
            raise method_not_allowed(f"method {request.method}")
        body = await read_body(request)
        spec = (body.get("spec") or {}) if isinstance(body, dict) else None
        if not isinstance(spec, dict):
            raise bad_request("the body must be a TokenRequest")
        seconds = _seconds(spec.get("expirationSeconds"))
        end = int(time.time()) + seconds
        token = account_token(
            api, key, target.namespace, target.name, seconds, _audiences(spec.get("audiences"))
        )
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
        metadata = {"name": target.name, "namespace": target.namespace}
        status = {"token": token, "expirationTimestamp": timestamp(end)}
        made = {
            **kind,
            "metadata": metadata,
            "spec": {**spec, "expirationSeconds": seconds},
            "status": status,
        }
        return answer(request, made, 201)

    return handle


def _audiences(given: Any) -> list[str]:
    return [str(one) for one in given] if isinstance(given, list) else []


def _seconds(given: Any) -> int:
    seconds = HOUR if given is None else given
    errors = FieldErrors()
    if type(seconds) is not int or seconds < SHORTEST:
        errors.invalid("spec.expirationSeconds", given, "may not specify a duration less than 10 minutes")
    elif seconds > LONGEST:
        errors.invalid("spec.expirationSeconds", given, "may not specify a duration larger than 2^32 seconds")
    if errors:
        raise invalid("TokenRequest", "authentication.k8s.io", "", errors.items)
    return int(seconds)
