"""Both jobs across two real Samba forests, through the real command line, as a time-line. `make demo` runs this as root."""
