"""Series in, the bytes of a metrics format out. Pure; one file a format."""
