"""The data directory: its layout, locks, files, records and their verification."""
