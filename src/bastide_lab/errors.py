"""What goes wrong in the lab, said in a way that tells what to do next."""


class LabError(Exception):
    """The lab cannot do what was asked."""
