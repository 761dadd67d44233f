"""The project's own exceptions."""


class Teapot(Exception):  # noqa: N818 - an application's own
    """A bug."""
