"""Clusters, load balancers, pools, health checks, outlier detection, circuit breakers."""
