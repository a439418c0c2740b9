"""Services, endpoints and workloads: Kubernetes Services and ServiceEntries become one model."""
