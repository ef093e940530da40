"""The reading room: pages on which a person reads a case, its evidence and a model's estimates together.

Served behind the service's guard; server-rendered, without a build step and without anything from elsewhere. What all pages say
is in `words`; how it came to be so, in docs/decisions/0011.
"""
