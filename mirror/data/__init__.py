"""What the copy is good for: read, reported, as Parquet, with SQL."""
