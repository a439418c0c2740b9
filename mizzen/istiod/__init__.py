"""The control plane: configuration in, xDS out."""
