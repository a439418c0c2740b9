"""Pod networks: CNI plugins, IPAM, veth and bridge, the interception rule sets."""
