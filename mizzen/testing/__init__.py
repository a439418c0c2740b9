"""The pytest plugin that boots a mesh."""
