"""Custom resources: definitions, structural schemas, and the objects that follow them."""
