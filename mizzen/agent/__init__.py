"""pilot-agent: bootstrap, certificates over SDS, probes, DNS, the life of the proxy (ours or Envoy)."""
