"""HTTP for every way in: the door in front of the routes, bodies, errors, answers. What the routes are, it does not know."""
