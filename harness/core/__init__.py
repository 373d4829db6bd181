"""The values and judgements that all rooms share. Pure."""
