"""The edges: HTTP and the local disk."""
