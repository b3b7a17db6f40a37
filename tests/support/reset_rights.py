"""Routes of self-service reset, and the right that each asks for."""

OPEN = "open"
RIGHTS = {
    "GET /resets": "audit or administer",
    "GET /resets/policy": "audit or administer",
    "POST /resets/unlock": "administer",
    "GET /reset-registrations": "audit or administer",
    "DELETE /reset-registrations/{name}": "administer",
    "GET portal/reset": OPEN,
    "POST portal/reset/start": OPEN,
    "POST portal/reset/send": OPEN,
    "POST portal/reset/gate": OPEN,
    "POST portal/reset/choose": OPEN,
    "POST portal/reset/leave": OPEN,
    "GET portal/reset/stop": OPEN,
    "POST portal/reset/stop": OPEN,
    "GET portal/reset/registration": "use",
    "POST portal/reset/registration/begin": "use",
    "POST portal/reset/registration/confirm": "use",
    "POST portal/reset/registration/answers": "use",
    "POST portal/reset/registration/remove": "use",
    "POST portal/reset/registration/key/remove": "use",
}
