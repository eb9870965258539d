"""What the archive's events are, and what is found in them."""
