"""Every error that Keepsake raises on purpose.

KeepsakeError
├── DoesNotExist                    no such experiment, checkpoint, file or object
│   ├── Removed                     an experiment that a person removed
│   ├── AmbiguousID                 an ID prefix that matches more than one
│   └── FileDoesNotExist            no such file in a checkpoint; also a FileNotFoundError
├── ValidationError                 an argument that cannot be recorded; also a ValueError
│   ├── InvalidFilter               a filter or sort key that cannot be parsed
│   └── UnknownName                 a name that no experiment has, in a filter, sort key, column or plot
├── ReadError                       the repository cannot be read
│   ├── CorruptedRepositorySpec     `repository.json` is not what it should be
│   ├── CorruptedArchive            an archive is truncated, damaged or hostile
│   └── IncompatibleRepositoryVersion   the repository is newer than this package
├── WriteError                      the repository or a local directory cannot be written
│   ├── MissingRepository           the repository is gone, for example because its disk is not mounted
│   ├── OtherRepository             another repository has taken the place of the right one
│   └── MissingRecord               an experiment is gone from its repository without a note that it was removed
├── PreconditionFailed              another process wrote the object first (`if_absent`, `if_match`)
├── RepositoryConfigurationError    a repository URL, its server or its credentials are wrong
│   ├── MissingBucket               the repository's bucket does not exist; the first run creates it
│   └── MissingExtra                an optional package is needed; also an ImportError
└── ConfigNotFound                  no project in this directory or above
"""

from __future__ import annotations


class KeepsakeError(Exception):
    """The base class of all errors of this package. Its text is one clear message for the user."""

    is_told = False  # whether a message in the background has told it already


class DoesNotExist(KeepsakeError):
    """No such experiment, checkpoint, file or object."""


class Removed(DoesNotExist):
    """An experiment that a person removed. It is the only error on which unsaved data of a run is dropped."""


class AmbiguousID(DoesNotExist):
    """An ID prefix that matches more than one experiment or checkpoint."""


class FileDoesNotExist(DoesNotExist, FileNotFoundError):
    """No such file in a checkpoint or its experiment."""


class ValidationError(KeepsakeError, ValueError):
    """An argument that cannot be recorded; the text names it and says what is accepted."""


class InvalidFilter(ValidationError):
    """A filter or sort key that cannot be parsed."""


class UnknownName(ValidationError):
    """A name that no experiment has, in a filter, sort key, column or plot. The text suggests similar names."""


class ReadError(KeepsakeError):
    """The repository cannot be read."""


class CorruptedRepositorySpec(ReadError):
    """`repository.json` is not what it should be."""


class CorruptedArchive(ReadError):
    """An archive is truncated, damaged or hostile."""


class IncompatibleRepositoryVersion(ReadError):
    """The repository was written by a newer version of Keepsake."""


class WriteError(KeepsakeError):
    """The repository, or a local directory, cannot be written."""


class NotRemoved(WriteError):
    """The repository has everything, but something cannot be removed from the spool, whose disk has trouble."""


class MissingRepository(WriteError):
    """The repository is gone, for example because its disk is not mounted. Unsent runs stay in the spool."""


class OtherRepository(WriteError):
    """A repository with another identity has taken the place of the right one. Unsent runs stay in the spool."""


class MissingRecord(WriteError):
    """An experiment is gone from its repository, and the repository has no note that somebody removed it."""


class PreconditionFailed(KeepsakeError):
    """The object exists already (`if_absent`), or has changed since it was read (`if_match`)."""


class RepositoryConfigurationError(KeepsakeError):
    """A repository URL, its server or its credentials are wrong."""


class MissingBucket(RepositoryConfigurationError):
    """The repository's bucket does not exist; the first run creates it."""


class MissingExtra(RepositoryConfigurationError, ImportError):
    """An optional package is not installed; the text gives the pip command that installs it."""


class ConfigNotFound(KeepsakeError):
    """No project, by its `keepsake.yaml` or its `.keepsake`, in this directory or any above it."""
