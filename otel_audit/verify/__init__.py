"""The verifier: records in, verdict out, no I/O."""
