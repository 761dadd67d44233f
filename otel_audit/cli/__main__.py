"""`python -m otel_audit.cli`: the same as the console script, where that is not on the path."""

from otel_audit.cli.entry import main

main()
