"""What an error says, for those who have to put it right."""


def reason(error: BaseException) -> str:
    """Return what *error* says, in words."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return str(error) or type(error).__name__
