"""Objects of a mesh checked against each other. Used by `mizzen analyze`, and by istiod for the objects' status."""
