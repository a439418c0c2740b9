"""One immutable, indexed view of the mesh per push."""
