"""Which addresses are pages, where a person may be sent after a form, and the headers of pages. Pure."""

import re

HOME = "/"
SIGN_IN = "/signin"
APPROVALS = "/approvals"
FACTORS = "/factors"
REVIEWS = "/reviews"
KEY = "/key"
SESSIONS = "/sessions"
EVENTS = "/events/"
RESET = "/reset"
REGISTRATION = "/reset/registration"
STATIC = "/static"
DESK = "/desk"

_OURS = re.compile(
    r"/(?:(?:signin|signout|code|key|factors|history|ask|requests|approvals|reviews|admin|auditing|sessions|events|static|desk|reset)(?:/.*)?)?",
    re.DOTALL,
)
#: A page that asks for a sign-in or a code sends the person on to one of these, and never elsewhere.
_ADMIN = (
    r"admin/(?:kill|directory|work|reset|monitoring|alerts(?:/rules)?|(?:roles|proposals|users|groups|reviews)(?:/new|/[0-9a-f-]{36}(?:/edit|/remove)?)?)|"
    r"auditing(?:/charts|/chain)?"
)
_ONWARD = re.compile(
    rf"/(?:desk(?:/people/[0-9a-f-]{{36}})?|history|factors|approvals|reviews|sessions|reset/registration|{_ADMIN}|(?:ask|requests)/[0-9a-f-]{{36}})?",
    re.ASCII,
)

#: In the place of what other answers have. `same-origin`: with `no-referrer` a browser says `Origin: null` of our own forms too.
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "same-origin",
}
#: For files whose address holds the hash of what is in them.
UNCHANGING = {
    **HEADERS,
    "Cache-Control": "public, max-age=31536000, immutable",
    "Vary": "Accept-Encoding",
}


def is_ours(path: str) -> bool:
    """Whether an address belongs to the portal."""
    return _OURS.fullmatch(path) is not None


def onward(path: str) -> str:
    """The page to go on to: what was asked for if it is one of ours, else the first page."""
    return path if _ONWARD.fullmatch(path) else HOME
