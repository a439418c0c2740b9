"""ADS client, resource store, warming."""
