"""The four kinds of patches, as pure functions of trees: JSON patch, merge patch, strategic merge patch, apply."""
