"""What can go wrong in the agent. No message holds a password, a key, a hash or a ciphertext.

AgentError
  Stop             the agent cannot go on; `number` is the event that says why
  DirectoryGone    the domain controller does not answer; try again
  NoAccount        the object was deleted
  CookieRefused    the directory does not take our place in its history
  SpoolFull        the queue cannot be written; the change stays in the directory
  Unreachable      a target does not answer
    HungUp         it did, and then ended the connection without a word
    NoKeytab       it was not asked: without the machine account's keytab there is no ticket
  Unusable         a target cannot be used as it is configured
  Refused          a target turns us away
  SealBroken       a connection is not safe, or no more
"""

from pathlib import Path


class AgentError(Exception):
    """Any of them."""


class Stop(AgentError):
    """The agent cannot go on."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.number = number


class DirectoryGone(AgentError):
    """The domain controller does not answer over ldapi."""


class NoAccount(AgentError):
    """The object was deleted before it was read."""


class CookieRefused(AgentError):
    """The directory does not know the cookie."""


class SpoolFull(AgentError):
    """Not written, and nothing of it counts."""


class Unreachable(AgentError):
    """No connection, or no answer in time."""


class HungUp(Unreachable):
    """The connection was ended by the target, without a word."""


class NoKeytab(Unreachable):
    """The machine account's keytab cannot be read. Nothing was sent."""


class Unusable(AgentError):
    """The configuration of a target cannot be used; trying again changes nothing."""


class Refused(AgentError):
    """The target turned us away in the handshake. `delay`: seconds it asks for; 0: none."""

    def __init__(self, message: str, delay: int = 0) -> None:
        super().__init__(message)
        self.delay = delay


class SealBroken(AgentError):
    """Kerberos does not open what came, or does not seal what goes: changed, repeated, or the ticket is over."""


def where(error: BaseException) -> str:
    """File and line of an unforeseen error, and no value: its text could hold what was being worked on."""
    trace, last = error.__traceback__, None
    while trace is not None:
        trace, last = trace.tb_next, trace
    return f"{Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}" if last else ""
