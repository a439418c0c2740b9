"""Pod workers, probes, volumes, exec, logs, port-forward; talks CRI."""
