"""What a command raises when its words are off."""


class Misuse(Exception):
    """The command's words are off; the message names the remedy."""
