"""What FastGPU is measured by: `make bench`. Nothing here is asserted by a test."""
