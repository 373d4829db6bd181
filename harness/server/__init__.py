"""Port 8000: carries out the engine's acts."""
