"""Auditing for Flask."""
