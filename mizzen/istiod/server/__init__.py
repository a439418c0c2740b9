"""istiod as a process: its ports, its push loop, what it keeps up to date in the cluster."""
