"""What happened, framework-neutral: actor, web access, query, redaction, policy."""
