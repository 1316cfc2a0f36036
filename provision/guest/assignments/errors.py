"""What is said when something cannot be done with an assignment."""


class AssignmentError(Exception):
    """It cannot be done; the message says why and what to do."""
