"""The settings: what there is to set, and how files, environment and flags set it."""
