"""The reading API: launches of the days held, as values, tables and files."""
