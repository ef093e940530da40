"""What the service says of itself, the same in every answer, header and description."""

NOTICE = "Research software, not a medical device; not for decisions about patients"
ESTIMATE = "estimated probability of the recorded label"
COVERAGE = "conformal sets cover a share of patients like those in calibration, not this patient"
SHARES = (
    "what each modality adds to the model's own answer, the mean over all orders in which they come in; `without_evidence` and "
    "the contributions add up to `with_all_evidence`. Not a cause, and not the effect of a treatment"
)
DESCRIPTION = f"""{NOTICE}.

A trained model behind HTTP. A case goes in, with whatever evidence there is; out comes the {ESTIMATE} for every finding,
whether its presence and its absence belong to the conformal set, or an abstention with its reason, and the names of the inputs
that were missing. `GET /v1/model` lists the fields, units and levels that are read.

Errors are problem+json (RFC 9457). They name the field by its JSON pointer and say what to do; they never repeat what was sent,
and neither do logs, metrics and the audit log. Requests get their id here: send no identifier of a patient.
"""
