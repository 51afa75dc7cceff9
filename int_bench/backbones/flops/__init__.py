"""The operations that models compute, and the rate at which a device computes them at best."""
