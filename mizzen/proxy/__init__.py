"""The data plane: obeys Envoy's xDS and knows nothing of Istio's or Kubernetes' kinds."""
