"""What can go wrong, one class for each thing that a caller would do differently.

    AuditError
    ├── InvalidSetting      a variable or argument says something that is not accepted: correct it
    ├── InvalidEvent        the caller's event lacks a field or has one of the wrong form: mend the call
    ├── NotConfigured       no pipeline in this process: call otel_audit.configure()
    ├── RecordingFailed     fail mode "closed": the record could not be made durable, refuse the work
    │   └── NoRoom          known before the work began: nothing has happened yet
    ├── IdentityError       the issuer of stream certificates cannot be read or asked
    └── SourceError         what should be read back cannot be: not there, not readable, not understood

Each message says what, which, what now. Tampering is no error: it is a finding (`otel_audit.verify`).
"""


class AuditError(Exception):
    """Root of every error that this package raises on purpose."""


class InvalidSetting(AuditError, ValueError):  # noqa: N818 - named for what is wrong, as ValueError is
    """A setting has a value that is not accepted; the message names variable, value and what is."""


class InvalidEvent(AuditError, ValueError):  # noqa: N818 - likewise
    """A field of the event is missing or not of its form; nothing was recorded."""


class NotConfigured(AuditError, RuntimeError):  # noqa: N818 - likewise
    """There is no audit pipeline in this process (never configured, or shut down); nothing was recorded."""


class RecordingFailed(AuditError):  # noqa: N818 - likewise
    """The record could not be made durable and the fail mode is `closed`; a gap will say so in the log."""


class NoRoom(RecordingFailed):
    """No room for the records of this work, in fail mode `closed`; raised before the work is let in."""


class IdentityError(AuditError):
    """The issuer of stream certificates cannot be read, or refused to certify a stream's key."""


class SourceError(AuditError):
    """A source of records cannot be read; the message names it and says what to do."""
