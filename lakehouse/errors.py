"""The one error a person is meant to read."""


class ComplaintsError(Exception):
    """A mistake or a condition that a person can mend.

    Its text is one sentence (or a few short ones): where, what was found, and what would be right. The command
    line prints the text alone and exits with 1; the traceback is shown with ``--debug``.
    """
