"""The audit of the node on which `bastide cluster` runs."""

from bastide.domain.audit import Event
from bastide.services.ports import Store


class AuditRecorder:
    """As the port Recorder: each event in a commit of its own, because the change that it tells of is in the directory or in a file."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(self, event: Event) -> None:
        """Raises StoreError."""
        with self._store.write() as uow:
            uow.audit.append(event)
            uow.commit()
