"""The daemon: polls on a schedule, serves, tells systemd and the monitor, and drains on a signal.

Which job is due is the business of `schedule`, what each does that of `jobs`, when to begin, reload
and end that of `service`.
"""
