"""Evidence out of events: canonical bytes, streams, Merkle tree, signatures, identity."""
