"""Errors that a user can cause, each one sentence with the name of the thing and the next step.

The Python API raises them; the command line prints the sentence and ends with the error's code.
"""

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """How a command ends: part of the interface."""

    DONE = 0
    BUG = 1
    USAGE = 2
    MISSING = 3
    INCOMPLETE = 4
    INTERRUPTED = 130


class UserError(Exception):
    """A mistake or a lack that the user can mend; printed as one sentence, never as a traceback."""

    exit_code: ClassVar[Exit] = Exit.BUG


class UsageError(UserError):
    """A wrong command line, override, configuration value or argument."""

    exit_code = Exit.USAGE


class OptionError(UsageError):
    """A wrong value of the configuration; ``key`` is its dotted key."""

    def __init__(self, message: str, key: str = "") -> None:
        super().__init__(message)
        self.key = key


class MissingAsset(UserError):
    """A file or folder that was asked for is missing or holds nothing usable."""

    exit_code = Exit.MISSING


class SampleError(UserError):
    """One sample cannot be processed: it is recorded as failed, the run goes on."""

    exit_code = Exit.INCOMPLETE


class OutOfMemory(Exception):
    """A backbone ran out of memory; the broker halves the batch and tries again."""
