"""The tour of the `demo` command, and the small archive that it mirrors."""
