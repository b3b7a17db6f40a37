"""`bastide report`: what auditors ask for, as text, JSON, CSV for a spreadsheet, or one HTML page."""

from bastide.cli import report_tables
from bastide.cli.group import group as commands

app = commands(
    "Reports for auditors: who may, who did, who never does, who agreed, and who has power that nobody granted.",
    ("the list to eliminate", "bastide report standing"),
    ("rights that nobody uses", "bastide report unused --since -180d"),
    ("for a spreadsheet", "bastide report eligible --format csv --out eligible.csv"),
    (
        "for a file of evidence",
        "bastide report approvals --since 2026-01-01 --format html --out approvals.html",
    ),
)
report_tables.add_to(app)
