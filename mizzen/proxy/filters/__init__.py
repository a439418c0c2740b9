"""One file per network or HTTP filter."""
