"""What a system can take as a password, and which answers it can give. A password is bytes to us: no step may cut or escape it."""

from bastide.domain.passwords import Code
from bastide.services.passwords.ports import Result

#: Longest password that Windows has, in UTF-16 units.
LONGEST = 256
#: What a foreign system can know of an account. The other codes are about our own rules and records: from outside they are a failure.
THEIRS = frozenset(
    {
        Code.SUCCESS,
        Code.OBJECT_MISSING,
        Code.POLICY,
        Code.SET_UNSUPPORTED,
        Code.UNAVAILABLE,
        Code.DENIED,
        Code.CREDENTIALS,
        Code.INSECURE,
        Code.FAILED,
    }
)


def unfit(password: str, *, without: str = "", longest: int = LONGEST) -> Result | None:
    """Why a system cannot take it, as a final answer; None: it can. `without`: characters that its protocol cannot carry."""
    if not password:
        return Result(Code.POLICY, "the password is empty")
    try:
        password.encode()
    except UnicodeEncodeError:
        return Result(
            Code.POLICY, "the password holds half a character (a lone surrogate), which UTF-8 cannot carry"
        )
    if any(character in password for character in without):
        return Result(Code.POLICY, "the password holds a control character that this system cannot carry")
    if len(password) > longest:
        return Result(
            Code.POLICY, f"the password is longer than the {longest} characters that this system takes"
        )
    return None


def answered(code: Code) -> str:
    """What is told of an answer of somebody else's program: never its own words, for it has had the password and may spell it in any way."""
    return f"it answered {code.value}; its own words are not kept"
