"""A client of the Kubernetes API: kubeconfig, requests, list-watch informers, work queues."""
