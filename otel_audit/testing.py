"""For users' tests: an in-memory pipeline, a fixed clock, `assert_audited` (work of the next commits)."""
