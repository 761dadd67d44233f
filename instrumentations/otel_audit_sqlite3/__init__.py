"""Auditing for sqlite3."""
