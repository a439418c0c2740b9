"""The OpenAPI documents, from the facts of the built-in kinds and the schemas of custom ones."""
