"""The one error that people see: what was found, what was expected, what to write instead."""


class AttentionError(ValueError):
    """Attention was asked for something that it cannot do, or that can be read in two ways."""
