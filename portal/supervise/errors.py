"""How starting up says no: in words that tell what to do."""


class Unstartable(Exception):
    """Something must be put right by a person first; `exit_code` is what the command ends with."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
