"""HTTP API, discovery, OpenAPI, watch cache, patch and apply, admission, authentication, authorization."""
