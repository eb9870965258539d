"""The report: what is odd about the days held, and how launches went."""
