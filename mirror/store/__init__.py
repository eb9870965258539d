"""The data directory: its layout, locks, files, records and their verification.

Whatever reads or writes it, here or through this package, raises a StorageError where the disk
refuses, and a ConfigError where a later version of this software has written it. Docstrings list
only what they raise beside that.
"""
