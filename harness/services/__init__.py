"""The reference resilience services: one pure machine a file, strangers to one another."""
