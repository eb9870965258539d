"""The archive's own rules: names, headers, listings, plan and verdict. All pure."""
