"""Errors that a user can cause, each one sentence with the name of the thing and the next step.

Exit codes are part of the interface: 0 done, 1 bug, 2 usage or configuration, 3 an asset is
missing, 4 finished but incomplete, 130 interrupted.
"""


class UserError(Exception):
    """A mistake or a lack that the user can mend; printed as one sentence, never as a traceback."""

    exit_code = 1


class UsageError(UserError):
    """A wrong command line, override or configuration value (exit code 2)."""

    exit_code = 2


class MissingAsset(UserError):
    """A file or folder that was asked for is missing or holds nothing usable (exit code 3)."""

    exit_code = 3


class SampleError(UserError):
    """One sample cannot be processed: it is recorded as failed, the run goes on (exit code 4)."""

    exit_code = 4


class OutOfMemory(Exception):
    """A backbone ran out of memory; the broker halves the batch and tries again."""
