"""Flow schemas and priority levels, and requests for certificates: defaults and refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import Problem, forbidden_field, invalid, required, unsupported
from .base import Object, WithStatus

if TYPE_CHECKING:
    from ..context import Ask

USAGES = frozenset(
    [
        "signing",
        "digital signature",
        "content commitment",
        "key encipherment",
        "key agreement",
        "data encipherment",
        "cert sign",
        "crl sign",
        "encipher only",
        "decipher only",
        "any",
        "server auth",
        "client auth",
        "code signing",
        "email protection",
        "s/mime",
        "ipsec end system",
        "ipsec tunnel",
        "ipsec user",
        "timestamping",
        "ocsp signing",
        "microsoft sgc",
        "netscape sgc",
    ]
)


class PriorityLevel(WithStatus):
    def default(self, obj: Object) -> None:
        limited = (obj.get("spec") or {}).get("limited")
        if limited is not None:
            if limited.get("nominalConcurrencyShares") is None:
                limited["nominalConcurrencyShares"] = 30
            if limited.get("lendablePercent") is None:
                limited["lendablePercent"] = 0
            queuing = (limited.get("limitResponse") or {}).get("queuing")
            for key, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
                if queuing is not None and not queuing.get(key):
                    queuing[key] = value

    def validate(self, obj: Object) -> list[Problem]:
        spec, name = obj.get("spec") or {}, obj["metadata"].get("name", "")
        kind, limited = spec.get("type"), spec.get("limited")
        problems: list[Problem] = []
        if (name == "exempt") != (kind == "Exempt"):
            problems.append(invalid("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
        if kind == "Exempt":
            if limited is not None:
                problems.append(Problem("spec.limited", "FieldValueForbidden", "Forbidden"))
        elif kind == "Limited":
            problems += (
                self._limited(limited)
                if limited is not None
                else [required("spec.limited", "must not be empty when type is Limited")]
            )
        else:
            problems.append(unsupported("spec.type", kind, ["Exempt", "Limited"]))
        return problems

    def _limited(self, limited: Object) -> list[Problem]:
        problems: list[Problem] = []
        shares = limited.get("nominalConcurrencyShares", 0)
        if shares < 0:
            problems.append(invalid("spec.limited.nominalConcurrencyShares", shares, "must be a non-negative integer"))
        response = limited.get("limitResponse") or {}
        path = "spec.limited.limitResponse"
        if response.get("type") == "Queue":
            if response.get("queuing") is None:
                problems.append(required(f"{path}.queuing"))
        elif response.get("type") == "Reject":
            if response.get("queuing") is not None:
                problems.append(
                    forbidden_field(f"{path}.queuing", "must be nil if limited.limitResponse.type is not Limited")
                )
        else:
            problems.append(unsupported(f"{path}.type", response.get("type"), ["Queue", "Reject"]))
        return problems


class FlowSchema(WithStatus):
    def default(self, obj: Object) -> None:
        if not (obj.get("spec") or {}).get("matchingPrecedence"):
            obj.setdefault("spec", {})["matchingPrecedence"] = 1000

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj.get("spec") or {}
        problems: list[Problem] = []
        if not 1 <= spec.get("matchingPrecedence", 0) <= 10000:
            problems.append(
                invalid(
                    "spec.matchingPrecedence",
                    spec.get("matchingPrecedence"),
                    "must be a value between 1 and 10000 inclusive",
                )
            )
        if not (spec.get("priorityLevelConfiguration") or {}).get("name"):
            problems.append(required("spec.priorityLevelConfiguration.name", "must reference a priority level"))
        return problems


class SigningRequest(WithStatus):
    generations = False

    def prepare_create(self, ask: Ask, obj: Object) -> None:
        spec = obj["spec"]
        info = ask.user.info()
        spec["username"] = info.get("username", "")
        for key in ("uid", "groups", "extra"):
            spec.pop(key, None)
            if info.get(key):
                spec[key] = info[key]
        obj["status"] = {}

    def prepare_update(self, ask: Ask, new: Object, old: Object) -> None:
        new["spec"], new["status"] = old["spec"], old.get("status", {})

    def prepare_part(self, ask: Ask, new: Object, old: Object, part: str) -> None:
        new["spec"] = old["spec"]
        status = dict(old.get("status") or {})
        given = (new.get("status") or {}).get("conditions")
        if given is not None:
            status["conditions"] = _stamped(given)
        new["status"] = status

    def prepare_status(self, ask: Ask, new: Object, old: Object) -> None:
        super().prepare_status(ask, new, old)
        kept = [
            one
            for one in (old.get("status") or {}).get("conditions") or ()
            if one.get("type") in ("Approved", "Denied")
        ]
        status = new.get("status") or {}
        mine = [one for one in status.get("conditions") or () if one.get("type") not in ("Approved", "Denied")]
        if kept or mine:
            status["conditions"] = [*kept, *_stamped(mine)]
        new["status"] = status

    def validate(self, obj: Object) -> list[Problem]:
        spec = obj["spec"]
        problems = self._request(spec.get("request", ""))
        usages = spec.get("usages") or []
        if not usages:
            problems.append(required("spec.usages"))
        for place, one in enumerate(usages):
            if one not in USAGES:
                problems.append(unsupported(f"spec.usages[{place}]", one, sorted(USAGES)))
            elif one in usages[:place]:
                from ..errors import duplicate

                problems.append(duplicate(f"spec.usages[{place}]", one))
        signer = spec.get("signerName", "")
        problems += signer_problems(signer)
        seconds = spec.get("expirationSeconds")
        if seconds is not None and seconds < 600:
            problems.append(
                invalid(
                    "spec.expirationSeconds", seconds, "may not specify a duration less than 600 seconds (10 minutes)"
                )
            )
        return problems

    def _request(self, request: str) -> list[Problem]:
        import base64

        from cryptography import x509

        pem = base64.b64decode(request or "")
        if b"-----BEGIN" not in pem:
            return [invalid("spec.request", request or None, "PEM block type must be CERTIFICATE REQUEST")]
        try:
            x509.load_pem_x509_csr(pem)
        except ValueError as error:
            return [invalid("spec.request", request, str(error))]
        return []

    def validate_update(self, new: Object, old: Object) -> list[Problem]:
        return []

    def validate_part(self, new: Object, old: Object, part: str) -> list[Problem]:
        kinds = {one.get("type") for one in (new.get("status") or {}).get("conditions") or ()}
        if {"Approved", "Denied"} <= kinds:
            return [invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive")]
        return []


def signer_problems(name: str) -> list[Problem]:
    if not name:
        return [required("spec.signerName")]
    domain, slash, rest = name.partition("/")
    if not slash or not rest or "/" in rest:
        return [
            invalid(
                "spec.signerName",
                name,
                "must be a fully qualified domain and path of the form 'example.com/signer-name'",
            )
        ]
    if "." not in domain:
        return [invalid("spec.signerName", domain, "should be a domain with at least two segments separated by dots")]
    return []


def _stamped(conditions: list[Object]) -> list[Object]:
    from ..schema.scalars import now

    moment = now()
    return [
        {
            **one,
            "lastUpdateTime": one.get("lastUpdateTime") or moment,
            "lastTransitionTime": one.get("lastTransitionTime") or moment,
        }
        for one in conditions
    ]
