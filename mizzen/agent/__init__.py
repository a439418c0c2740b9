"""pilot-agent: what stands beside a proxy in a pod. See agent.py for how its parts fit together.

Everything here is written to be small: it runs once in every pod. No typer, no protobuf runtime, no cryptography in the
long-lived process; DNS and gRPC probes are imported when they are needed. Not here: the control plane, the proxy.
"""
