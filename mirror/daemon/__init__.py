"""The daemon: polls on a schedule, serves, reports to systemd, and drains on a signal.

`schedule` says which job is due, `jobs` runs it, `service` starts, reloads and ends it all.
"""
