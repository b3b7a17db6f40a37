"""Log files of this machine: what is written as JSON lines, kept in bounded files, and read back for a span."""
