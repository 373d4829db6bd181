"""Locust users and their recorder; lives in Locust's own process."""
