"""ValidatingAdmissionPolicies: says that a policy was looked at. Expressions are not checked against the types they are for.

Source: admissionregistration.k8s.io/v1 ValidatingAdmissionPolicyStatus.
"""

from __future__ import annotations

from mizzen.kube.controller import After, itself
from mizzen.kube.resource import Key, Resource
from mizzen.runtime.controllers.writes import Writer

POLICIES = Resource(
    "admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", False, "ValidatingAdmissionPolicy"
)


class PolicyStatusController:
    """A key is a policy's name."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self.watches = {POLICIES: itself}

    async def reconcile(self, key: Key) -> After | None:
        policy = self._writer.get(POLICIES, key)
        if policy is not None:
            seen = {"observedGeneration": policy["metadata"].get("generation", 0), "typeChecking": {}}
            await self._writer.update_status(POLICIES, policy, {**(policy.get("status") or {}), **seen})
        return None
