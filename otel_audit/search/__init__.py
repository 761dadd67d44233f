"""Questions over verified records, and their answers."""
