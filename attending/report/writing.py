"""Writing a report: `report.html` for people, `report.json` for programs; each whole or not at all."""

import json
from pathlib import Path

from attending.artefacts import write_text
from attending.report.card import card_of, card_text
from attending.report.checklists import checklist_text, checklists
from attending.report.page import page_of
from attending.report.record import record_of
from attending.report.report import Report
from attending.report.sharing import shared

CHECKLISTS = {"TRIPOD+AI": "tripod_ai.md", "CLAIM": "claim.md"}


def write_report(folder: Path, report: Report) -> tuple[Path, Path]:
    """Write the report, its model card and the checklists into `folder`; the paths of page and record.

    What they hold may be shared: no text, film or id of a patient, counts under 5 hidden. Raises `OSError` with the old files
    in place when the disk is full.
    """
    held = shared(report)
    record = json.dumps(record_of(held), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    page = page_of(held)
    card = card_of(held)
    for name, items in checklists(held).items():
        write_text(folder / CHECKLISTS[name], checklist_text(name, items))
    write_text(folder / "model_card.json", json.dumps(card, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(folder / "model_card.md", card_text(card))
    write_text(folder / "report.json", record)
    write_text(folder / "report.html", page)
    return folder / "report.html", folder / "report.json"
