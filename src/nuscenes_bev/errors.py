"""The error that people see."""


class UsageError(Exception):
    """What was asked for cannot be done; the message is one sentence with a next step."""
