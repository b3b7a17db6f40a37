"""Connected systems: read their objects, set passwords there. One file per kind; `registry.py` names them."""
