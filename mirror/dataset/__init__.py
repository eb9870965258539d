"""The Parquet data set, and SQL over it and over the daily files."""
