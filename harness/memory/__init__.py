"""Leak checks of running processes; the judgement is in core/."""
