"""The PAM REST API of Microsoft Identity Manager, for clients that were written for it: docs/reference/mim-rest.md."""
