"""Segments on disk: write, read, recover, retire."""
