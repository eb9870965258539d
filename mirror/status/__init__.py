"""How the copy stands: a snapshot, its problems, its metrics."""
