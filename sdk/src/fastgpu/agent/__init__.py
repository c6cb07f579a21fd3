"""The node agent: measures the GPUs of this machine and posts what it saw to the portal."""
