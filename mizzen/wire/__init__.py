"""Protobuf messages that xds-protos lacks (Istio's own extensions, CRI), built from descriptors at import."""
