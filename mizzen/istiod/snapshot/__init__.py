"""One immutable, indexed view of the mesh per push."""

from mizzen.istiod.snapshot.snapshot import Snapshot

__all__ = ["Snapshot"]
