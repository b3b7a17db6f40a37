"""Emergency accounts: seal, watch, drill, reconcile."""
