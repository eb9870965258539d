"""The archive's events: what a launch is, how lines are decoded, what days contain."""
