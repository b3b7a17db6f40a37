"""Real Samba forests in network namespaces: for the demo, for the tests and for anyone's laptop."""
