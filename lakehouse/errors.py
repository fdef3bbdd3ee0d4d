"""The error that is meant for the user to read."""


class ComplaintsError(Exception):
    """A mistake or a condition that the user can fix.

    Its message is one sentence (or a few short ones): where, what was found, and what is expected. The command line
    prints only the message and exits with 1; ``--debug`` shows the traceback.
    """
