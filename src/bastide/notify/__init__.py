"""The way out for messages: apprise, in a process of its own."""
