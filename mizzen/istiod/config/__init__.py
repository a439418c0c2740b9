"""Where objects come from: directories of YAML, a Kubernetes API server."""
