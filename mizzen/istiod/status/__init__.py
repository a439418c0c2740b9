"""What istiod says about objects: how many proxies have them, who refused them, what is wrong with them."""
