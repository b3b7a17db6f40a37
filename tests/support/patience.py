"""How long a test on the lab waits for what has to happen. Only one that fails waits so long."""

#: Seconds. A target that failed once is tried again after a minute, and a machine that does many other things needs its time for the rest.
PATIENCE = 150.0
