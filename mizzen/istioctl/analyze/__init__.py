"""`mizzen analyze`: checks of a mesh's objects against each other, with istioctl's codes."""
