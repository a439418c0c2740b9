"""Hot restart: a process of the next epoch takes the listening sockets over, the one before it drains and ends."""
