"""Out over OTLP: sealed records leave the spool, in order, until a sink has acknowledged each of them."""
