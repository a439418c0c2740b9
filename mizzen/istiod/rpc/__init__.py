"""gRPC on the server's side, for xDS and certificates: many long streams that are written the same bytes."""
