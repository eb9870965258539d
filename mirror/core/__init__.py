"""The pure core: no network, disk, clock or log."""
