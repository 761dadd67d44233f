"""The demonstration: a real application, real requests, the log they leave, and what happens to who edits it."""
