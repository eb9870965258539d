"""The web side: the archive as it is held, the status page, probes and metrics. Read-only."""
