"""One file per controller, all on one informer and work-queue kit."""
