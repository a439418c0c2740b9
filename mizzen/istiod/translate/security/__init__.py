"""Authorization policies and request authentication as filters; TLS contexts."""
