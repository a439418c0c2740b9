"""PCDS: the mesh's trust anchors, as a ProxyConfig that holds nothing else.

Takes a snapshot, gives the serialised message; nothing when the mesh has no anchors to tell of (several roots are
switched off). Source: istio.mesh.v1alpha1.ProxyConfig `caCertificatesPem`, field 34.
"""

from __future__ import annotations

from mizzen.istiod.snapshot import Snapshot
from mizzen.istiod.trust import KEY
from mizzen.istiod.xds.encode import field

CA_CERTIFICATES_PEM = 34


def trust_anchors(snap: Snapshot) -> bytes | None:
    """The ProxyConfig, serialised."""
    found = snap.get(*KEY)
    if found is None or not found.certificates:
        return None
    return b"".join(field(CA_CERTIFICATES_PEM, pem) for pem in found.certificates)
