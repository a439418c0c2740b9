"""Workers: the processes of one proxy that serve connections beside the main one (`--concurrency`)."""
