"""Is everything as Bastide needs it? Checks that look and change nothing, their report, and the way to a cause."""
