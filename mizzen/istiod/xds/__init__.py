"""The ADS server: subscriptions, diffs, the push queue, the cache of serialised resources."""
