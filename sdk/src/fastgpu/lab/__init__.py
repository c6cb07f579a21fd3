"""What FastGPU runs inside an attempt for people who work in it: JupyterLab and terminals."""
