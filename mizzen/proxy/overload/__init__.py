"""The overload manager: what is measured, when that is too much, and what is then refused."""
