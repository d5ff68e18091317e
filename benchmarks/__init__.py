"""Benchmarks: what people do with Keepsake, measured beside Keepsake 0.4.2 and the least that the machine needs."""
