"""The door for agents. How many controllers have is decided in places.py, what is said in conversation.py."""

import socket

from bastide.listener import Listener
from bastide.receiver.conversation import Conversation, Host
from bastide.receiver.places import CONTROLLERS, Places
from bastide.receiver.recorder import Recorder
from bastide.services.passwords.callers import Caller


class Receiver(Listener[socket.socket]):
    """Listens until `stop`. A notification that is being taken in then is finished: the agent has no answer yet, and would send it again."""

    def __init__(self, address: str, port: int, host: Host) -> None:
        super().__init__(
            address,
            port,
            name="receiver",
            whom="agents",
            most=CONTROLLERS,
            answers=True,
            monotonic=host.monotonic,
        )
        self._host = host
        self._places = Places()
        self._recorder = Recorder(host.silence)

    def start(self) -> None:
        """As the base, with another thread for who was heard. Raises RuntimeError if there can be no thread; then it has stopped."""
        super().start()
        try:
            self._recorder.start()
        except RuntimeError:
            self.stop()
            raise

    def stop(self, timeout: float = 5.0) -> None:
        """As the base; then the same time again for a commit of who was heard."""
        super().stop(timeout)
        self._recorder.stop(timeout)

    def _made(self, plain: socket.socket) -> socket.socket:
        return plain

    def _serve(self, number: int, connection: socket.socket, address: str) -> None:
        def admitted(caller: Caller) -> None:
            with self._lock:
                if not self._shown(number):
                    return  # hung up on meanwhile
                gone = self._places.admit(number, f"{caller.account}@{caller.domain}")
                # What it is saying is taken in and answered; it only says nothing new.
                self._hang_up(gone, socket.SHUT_RD)

        Conversation(connection, address, self._host, self._stopping.is_set, admitted).run()

    def _left(self, number: int) -> None:
        self._places.leave(number)
