"""The project: wires accounts, billing and clusters together."""
