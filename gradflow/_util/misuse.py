"""What a command raises when its words are off, and what it says of the system's errors."""


class Misuse(Exception):
    """The command's words are off; the message names the remedy."""


def in_words(error: OSError) -> str:
    """What the system said, and of which file, without its number."""
    if error.strerror is None:
        return str(error)
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror.lower()}."
