"""What only Windows has: the pipe that the filter speaks into, and the directory, asked as the controller's own account.

**Never run by us.** We have no Windows. The types are checked against the stubs of pywin32, the pipe's conversation is that of windows/tests/agent.c, which runs under wine, and what is above this file is
tested on Linux. Whoever runs it first should expect to find something: docs/how-to/windows-agent.md.

Run as LocalSystem: the filter tells its passwords to nobody else (windows/server.c), and only then ADSI signs in as the controller.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Self

import pythoncom
import pywintypes
import win32file
import win32pipe
import win32security
import winerror
from win32com.adsi import adsi, adsicon

from bastide.pcns import sid_bytes
from bastide_agent.failures import DirectoryGone, NoAccount
from bastide_agent.windows.frames import ANSWER_BYTES, FRAME_LIMIT

PIPE = r"\\.\pipe\bastide-agent"
#: Owned by the system, which the filter checks; opened by the system alone, as which LSA runs.
SECURITY = "O:SYG:SYD:P(A;;GA;;;SY)"
_RIGHTS = adsicon.ADS_SECURE_AUTHENTICATION | adsicon.ADS_USE_SIGNING | adsicon.ADS_USE_SEALING


class FilterPipe:
    """As the port Pipe. Serves one caller after the other: the filter has one thread that calls."""

    def __init__(self) -> None:
        """Raises OSError if there is a pipe of that name already: then somebody waits for passwords, and it is not we."""
        attributes = win32security.SECURITY_ATTRIBUTES()
        attributes.SECURITY_DESCRIPTOR = win32security.ConvertStringSecurityDescriptorToSecurityDescriptor(
            SECURITY, win32security.SDDL_REVISION_1
        )
        self._closed = False
        with _errors():
            self._pipe = win32pipe.CreateNamedPipe(
                PIPE,
                win32pipe.PIPE_ACCESS_DUPLEX | win32pipe.FILE_FLAG_FIRST_PIPE_INSTANCE,
                win32pipe.PIPE_TYPE_BYTE | win32pipe.PIPE_WAIT | win32pipe.PIPE_REJECT_REMOTE_CLIENTS,
                1,
                FRAME_LIMIT,
                ANSWER_BYTES,
                0,
                attributes,
            )

    def next(self) -> "PipeCaller | None":
        """As the port says."""
        while not self._closed:
            try:
                win32pipe.ConnectNamedPipe(self._pipe)
            except pywintypes.error as error:
                if error.winerror != winerror.ERROR_NO_DATA:  # somebody came, and went
                    raise OSError(error.winerror, "the pipe cannot be served") from None
                win32pipe.DisconnectNamedPipe(self._pipe)
                continue
            if not self._closed:
                return PipeCaller(self._pipe)
        win32file.CloseHandle(self._pipe)
        return None

    def close(self) -> None:
        """As the port says: `next` waits for a caller, so we call."""
        self._closed = True
        with suppress(pywintypes.error):
            win32file.CreateFile(PIPE, win32file.GENERIC_READ, 0, None, win32file.OPEN_EXISTING, 0, None)


class PipeCaller:
    """As the port Caller."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(pywintypes.error):
            win32pipe.DisconnectNamedPipe(self._pipe)

    def there(self) -> int:
        """As the port says."""
        with _errors():
            return int(win32pipe.PeekNamedPipe(self._pipe, 0)[1])

    def read(self, size: int) -> bytes:
        """As the port says."""
        with _errors():
            _, found = win32file.ReadFile(self._pipe, size)
        return bytes(found)

    def write(self, answer: bytes) -> None:
        """As the port says: the pipe has room for it."""
        with _errors():
            win32file.WriteFile(self._pipe, answer)


@contextmanager
def _errors() -> Iterator[None]:
    """pywin32's are no OSError."""
    try:
        yield
    except pywintypes.error as error:
        raise OSError(error.winerror, f"{PIPE}: {error.funcname}") from None


class LocalDirectory:
    """This controller's own directory over ADSI, signed and sealed. Any thread may use it."""

    def __init__(self, host: str, domain_sid: str) -> None:
        """`host`: this controller's full name."""
        self._host = host
        self._domain_sid = domain_sid

    def highest_usn(self) -> int:
        """Raises DirectoryGone."""
        found = self._read("rootDSE", ("highestCommittedUSN",))
        return int(found["highestCommittedUSN"][0])

    def by_rid(self, rid: int, names: Sequence[str]) -> Mapping[str, Sequence[bytes]]:
        """The account of this domain with that RID. Raises NoAccount, DirectoryGone."""
        sid = sid_bytes(f"{self._domain_sid}-{rid}")
        return self._read(f"<SID={sid.hex()}>", tuple(names))

    def _read(self, what: str, names: tuple[str, ...]) -> Mapping[str, Sequence[bytes]]:
        pythoncom.CoInitialize()  # each thread must; once more does no harm
        try:
            found = adsi.ADsOpenObject(
                f"LDAP://{self._host}/{what}", None, None, adsi.IID_IDirectoryObject, _RIGHTS
            )
            attributes = found.GetObjectAttributes(names)
        except pythoncom.com_error as error:
            code = int(error.args[0]) & 0xFFFFFFFF
            if code & 0xFFFF == winerror.ERROR_DS_NO_SUCH_OBJECT:
                raise NoAccount("it is not there") from None
            raise DirectoryGone(f"cannot read: {code:#010x}") from None
        return {one.AttrName: [_raw(value) for value, _ in one.Values] for one in attributes}


def _raw(value: object) -> bytes:
    """As LDAP would give it."""
    return bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value).encode()
