"""The Parquet data set, and SQL over it and over the daily files.

What needs DuckDB raises a ConfigError where that is not installed.
"""
