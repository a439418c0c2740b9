"""analyze, proxy-status, proxy-config, validate and the other commands known from istioctl."""
