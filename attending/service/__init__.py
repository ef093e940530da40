"""A model behind HTTP: `attending serve`. Cases in as JSON, estimates out, with an audit log that holds no patient.

Needs the extra `serve`. What the routes answer is said by `Desk` without HTTP, so that a page can ask the same functions.
"""
