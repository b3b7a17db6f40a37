"""Step (7) of deliver.py for what somebody ordered: asked once more, right before a system is."""

from bastide.domain.errors import Conflict, DirectoryError, NotConfigured, NotFound
from bastide.domain.passwords import Code, Delivery, Purpose
from bastide.services.passwords.ports import OrderRules, Result


def refused_now(rules: OrderRules | None, delivery: Delivery) -> Result | None:
    """Why this order is not delivered; None: it is. Where nobody can say it is tried again, as a system that does not answer."""
    if rules is None or delivery.purpose is not Purpose.SET:
        return None
    try:
        why = rules.refusal(delivery.reference)
    except NotFound as error:
        return Result(Code.OBJECT_MISSING, error.message)
    except (Conflict, DirectoryError, NotConfigured) as error:
        return Result(Code.FAILED, f"nobody could say whether the person is in reach: {error.message}")
    return Result(Code.OUT_OF_REACH, why) if why else None
