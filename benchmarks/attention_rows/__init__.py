"""The jobs of `benchmarks/attention.py`, a few to a file, by what they are about."""
