"""What the names of columns give away: vocabularies, matched on whole words or on the beginnings of words.

Vocabularies only; `infer` decides with them. When in doubt a word stands here: leaving a column out costs a little accuracy,
letting an outcome in costs the result, and the reason is printed so that a person can put the column back.
"""

import re

_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def words(name: str) -> tuple[str, ...]:
    """The lower-case words of a column name: `needed_supplemental_O2` → needed, supplemental, o2."""
    return tuple(re.findall(r"[a-zà-ÿ0-9]+", _CAMEL.sub(" ", name).lower()))


def has_word(name: str, vocabulary: frozenset[str]) -> str | None:
    """The first word of the name that stands in the vocabulary."""
    return next((word for word in words(name) if word in vocabulary), None)


def has_beginning(name: str, vocabulary: tuple[str, ...]) -> str | None:
    """The first word of the name that begins like one of the vocabulary."""
    return next((word for word in words(name) if word.startswith(vocabulary)), None)


def contains(name: str, part: str) -> bool:
    """Whether the words of `part` stand in this order, side by side, in the words of `name`."""
    inner, outer = words(part), words(name)
    return bool(inner) and any(outer[i : i + len(inner)] == inner for i in range(len(outer) - len(inner) + 1))


PATIENT = (
    "patient_id", "patientid", "patient", "subject_id", "subjectid", "subject", "person_id", "person", "participant_id",
    "participant", "pid", "pat_id", "patient_key", "patient_no", "patient_number", "child_id", "pseudonym",
)  # fmt: skip
GROUP = (
    "group_id", "group", "family_id", "family", "household_id", "household", "cluster_id", "cluster", "article_id",
    "pair_id",
)  # fmt: skip
VISIT = (
    "visit_id", "visit", "encounter_id", "encounter", "admission_id", "hadm_id", "stay_id", "episode_id", "visit_no",
    "visit_number",
)  # fmt: skip
ID = (
    "study_id", "case_id", "case", "record_id", "exam_id", "examination_id", "accession", "accession_number", "image_id",
    "film_id", "scan_id", "sample_id", "row_id", "uid", "uuid", "id",
)  # fmt: skip
SITE = (
    "site", "site_id", "hospital", "hospital_id", "center", "centre", "institution", "facility", "clinic", "dataset",
    "source",
)  # fmt: skip
ASKED_AT = (
    "asked_at", "prediction_time", "index_time", "index_date", "admission_time", "admission_date", "admitted_at",
    "admittime", "arrival_time", "visit_time", "visit_date", "visit_at", "visited_at", "exam_date", "exam_time", "study_date",
    "study_time", "study_datetime", "encounter_date", "date", "datetime", "time",
)  # fmt: skip
AGE = (
    "age", "age_years", "age_year", "age_y", "patient_age", "age_at_visit", "age_at_admission", "age_months", "age_days",
)  # fmt: skip
SEX = ("sex", "gender", "patient_sex", "patient_gender")
VIEW = ("view", "projection", "view_position", "viewposition", "patient_position")
NOTE = frozenset({
    "note", "notes", "text", "history", "indication", "comment", "comments", "narrative", "anamnesis", "complaint",
    "description", "summary", "report", "letter", "free_text", "anamnese",
})  # fmt: skip
IMAGE = frozenset({"image", "images", "film", "films", "xray", "picture", "photo", "scan", "radiograph"})
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".dcm", ".dicom", ".gif")
EMBEDDING = frozenset({"embedding", "embeddings", "embed", "emb", "vector", "vec"})

IDENTITY = frozenset({
    "name", "surname", "firstname", "lastname", "forename", "vorname", "nachname", "mrn", "ssn", "nhs", "phone",
    "telephone", "tel", "fax", "email", "mail", "address", "street", "zip", "zipcode", "postcode", "postal",
    "birthdate", "birthday", "dob", "birth", "insurance", "passport", "iban", "physician", "doctor", "nurse", "guardian",
})  # fmt: skip
_PAST = frozenset({"history", "previous", "prior", "past", "family", "known", "hx", "ever", "pre", "preexisting"})

OUTCOME = (
    "surviv", "death", "dead", "died", "deceas", "mortal", "icu", "intubat", "extubat", "ventilat", "discharg", "readmi",
    "manag", "treat", "therap", "surg", "operat", "histolog", "autops", "biops", "outcome", "prognos", "severe",
    "severit", "complicat", "diagnos", "icd", "presumptiv", "relaps", "recur", "remission", "perforat", "abscess",
    "supplemental", "transfus", "expire", "hospice", "sequel",
)  # fmt: skip
"""Beginnings of words for what is known, decided or done only after the question."""
OUTCOME_WORDS = frozenset({
    "dx", "los", "label", "labels", "finding", "findings", "ards", "impression", "conclusion", "final", "truth",
    "groundtruth", "abnormal", "problem", "problems", "mesh", "followup",
})  # fmt: skip
OUTCOME_PHRASES = (
    "length_of_stay", "days_to", "time_to", "hours_to", "follow_up", "cause_of", "ground_truth", "duration_of_stay",
)  # fmt: skip
ANNOTATION = frozenset({
    "opacity", "opacities", "extent", "mask", "masks", "box", "boxes", "bbox", "segmentation", "annotation",
    "annotations", "annotator", "rater", "raters", "reader", "readers", "roi", "xywh",
})  # fmt: skip
"""Somebody's reading of the picture, made after it and often with the diagnosis known."""
BOOKKEEPING = frozenset({
    "url", "uri", "link", "href", "doi", "pmid", "license", "licence", "credit", "credits", "copyright", "attribution",
    "file", "filename", "filepath", "path", "folder", "directory", "hash", "md5", "sha1", "sha256", "checksum", "scanner",
    "manufacturer", "vendor", "device", "version", "batch", "index", "created", "updated", "modified", "timestamp",
    "split", "fold", "partition", "subset", "pixel", "pixels", "columns", "rows", "bits", "dpi", "width", "era", "year",
    "country", "city", "unnamed", "provenance", "reference", "citation",
})  # fmt: skip
PLACES = ("location", "region", "place", "place_of_residence", "district", "state")
PROCESS = frozenset({"performed", "ordered", "requested", "scheduled", "completed", "done"})
"""What was done rather than what was found: tests are ordered for the sick."""
KEY = frozenset({"number", "no", "nr", "key", "code", "id", "uid"})
SCORE = frozenset({"score", "scores", "scale"})
TIME_ENDINGS = (
    "dayoffset", "day_offset", "offset_days", "hours_offset", "hour_offset", "offset_hours", "offset", "time", "at",
    "date", "datetime", "timestamp", "taken_at", "collected_at", "measured_at", "days", "hours", "day", "hour",
)  # fmt: skip
UNIT_ENDINGS = ("unit", "units", "uom")


def is_structural(name: str) -> bool:
    """Whether the name is that of an id, a site or a date, which have no time or unit of their own."""
    return "_".join(words(name)) in {*PATIENT, *GROUP, *VISIT, *ID, *SITE, *ASKED_AT}


def is_past_history(name: str) -> bool:
    """Whether the name speaks of the patient's past (`previous_surgery`), which is known at the question."""
    return bool(_PAST & set(words(name)))


def outcome_word(name: str) -> str | None:
    """The part of the name that speaks of an outcome or of something done after the question, or None."""
    if is_past_history(name):
        return None
    phrase = next((phrase for phrase in OUTCOME_PHRASES if contains(name, phrase)), None)
    return phrase or has_word(name, OUTCOME_WORDS) or has_beginning(name, OUTCOME)
