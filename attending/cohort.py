"""Who is in which part: groups, splits and the protocol under which a procedure is judged.

Standard library and numpy only. It never sees evidence, only ids, groups and strata; parts are always whole groups.
Rules: evidence.md §3 "Protocol" of the design notes (four-way split only where it can carry an estimate, otherwise repeated
nested cross-validation).
"""
