"""How a behaviour is reached: one file a protocol."""
