"""The PIM part of Microsoft Graph, for scripts that were written for it: docs/reference/graph-pim.md."""
