"""The resource model: typed kinds, their registry, manifests, validation, defaulting. Imports no other room."""
