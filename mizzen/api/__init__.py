"""The resource model: typed kinds, the kinds registry, reading manifests, validation, defaulting. Imports no other room."""
