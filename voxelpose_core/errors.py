"""The one exception for input that a person can correct."""


class InputError(ValueError):
    """Bad input from outside: a file, a key, a camera, an argument.

    Its message is one line that names the thing that is wrong and what was expected.
    Commands print that line and exit with code 2; the node turns it into a diagnostic.
    """
