"""The batch path under Faust: whole lists of records to an async handler, with exact commits (docs/adr/0003)."""
