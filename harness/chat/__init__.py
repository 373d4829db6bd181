"""What the chat service decides. Pure: facts in, acts out."""
