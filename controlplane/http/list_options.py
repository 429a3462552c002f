"""What a list or a watch may ask of resource versions.

    resourceVersion=N   NotOlderThan (the usual meaning): a picture of N or later
                        Exact: a picture of N, which is only had while N is the present: older ones are not kept, and a
                        client that is told so (410) lists anew

Source: Kubernetes API concepts, "Resource versions", "Streaming lists"; k8s.io/apimachinery
pkg/apis/meta/internalversion/validation.
"""

from __future__ import annotations

from aiohttp import web

from controlplane.errors import FieldErrors, bad_request, expired, invalid, too_large_version

MATCHES = ("Exact", "NotOlderThan")


def check_list(request: web.Request, revision: int) -> None:
    """Raises StatusError 400, 410, 422, and 504 for a picture of the future."""
    query, errors = request.query, FieldErrors()
    version, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
    field = "resourceVersionMatch"
    if "sendInitialEvents" in query:
        errors.forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list")
    if match and query.get("continue"):
        errors.forbidden(field, f"{field} is forbidden when continue is provided")
    elif match and not version:
        errors.forbidden(field, f"{field} is forbidden unless resourceVersion is provided")
    elif match and match not in MATCHES:
        errors.unsupported(field, match, MATCHES)
    elif match == "Exact" and version == "0":
        errors.forbidden(field, f'{field} "exact" is forbidden for resourceVersion "0"')
    _refuse(errors)
    if not version:
        return
    if not (version.isascii() and version.isdigit()):
        raise bad_request(f'resourceVersion: Invalid value: "{version}": must be a number')
    if int(version) > revision:
        raise too_large_version(int(version), revision)
    if match == "Exact" and int(version) != revision:
        raise expired(f"The resourceVersion for the provided list is too old: {version} ({revision})")


def check_watch(request: web.Request) -> None:
    """Raises StatusError 422."""
    query, errors = request.query, FieldErrors()
    match, initial = query.get("resourceVersionMatch", ""), "sendInitialEvents" in query
    field = "resourceVersionMatch"
    if initial and match != "NotOlderThan":
        errors.forbidden(field, f"sendInitialEvents requires setting {field} to NotOlderThan")
    elif match and not initial:
        errors.forbidden(field, f"{field} is forbidden for watch unless sendInitialEvents is provided")
    _refuse(errors)


def _refuse(errors: FieldErrors) -> None:
    if errors:
        raise invalid("ListOptions", "meta.k8s.io", "", errors.items)
