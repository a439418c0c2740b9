"""Admission: what changes or refuses a write after it was decoded and before it is validated and stored."""
