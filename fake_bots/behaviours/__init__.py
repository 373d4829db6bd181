"""How a fake bot answers: one pure frozen dataclass a file."""
