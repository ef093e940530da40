"""attending: multi-modal medical diagnosis on attention mechanisms that you can choose, measure and see.

Research software, not a medical device; not for decisions about patients.
"""
