"""A verdict in, the bytes of a report out. Pure; one file a format."""
