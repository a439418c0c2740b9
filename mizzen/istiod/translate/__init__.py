"""Pure functions: (snapshot, node) to LDS, CDS, EDS, RDS, SDS, NDS and ECDS resources."""
