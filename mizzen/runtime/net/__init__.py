"""Service virtual IPs, cluster DNS."""
