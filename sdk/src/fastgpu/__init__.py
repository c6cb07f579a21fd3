"""FastGPU without the portal: what GPU nodes and, later, people's own programs install."""

__version__ = "0.1.0"
