"""`python -m mirror` is `binder-mirror`."""

from mirror.cli import main

main()
