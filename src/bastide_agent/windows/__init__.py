"""Capture on a Windows domain controller: the filter in LSA (windows/ at the top of the tree) tells, this listens. docs/how-to/windows-agent.md says what is proven."""
