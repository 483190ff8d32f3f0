"""Independent computations that verdicts rest on."""
