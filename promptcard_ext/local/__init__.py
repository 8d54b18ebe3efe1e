"""What library mode keeps on this machine's disk: stored answers, results as they come, runs that can be resumed."""
