"""Pure functions: (snapshot, proxy) → LDS, CDS, EDS, RDS, SDS, NDS, ECDS resources.

`generate` is the one door for the ADS server and `mizzen xds dump`. Not here: subscriptions, versions, nonces (xds/).
"""

from mizzen.istiod.translate.generate import TYPES, generate

__all__ = ["TYPES", "generate"]
