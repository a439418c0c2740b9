"""Compiles xDS resources into immutable run-time objects; refuses by name what is not supported."""
