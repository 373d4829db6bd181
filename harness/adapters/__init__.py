"""Thin readers of clock, disk, processes and network."""
