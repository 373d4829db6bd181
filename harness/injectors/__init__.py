"""Faults made real: one file each, undo registered before inject."""
