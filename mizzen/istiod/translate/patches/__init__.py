"""EnvoyFilter patches: the last, pure step over resources that are already built."""

from mizzen.istiod.translate.patches.clusters import patch_clusters
from mizzen.istiod.translate.patches.extensions import patched_extensions
from mizzen.istiod.translate.patches.listeners import patch_listeners
from mizzen.istiod.translate.patches.routes import patch_route_configuration

__all__ = ["patch_clusters", "patch_listeners", "patch_route_configuration", "patched_extensions"]
