"""mizzen: a service mesh in Python. docs/architecture.md has the map of the rooms."""

import os

__version__ = "0.1.0"

# Children that are forked to be another program must not run gRPC's fork handlers: they crash now and then
# (ev_epoll1_linux.cc "next_worker->state == KICKED"), and nothing here calls gRPC in a forked child. Read when grpc is imported.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
