"""Whose ticket of several MIT Kerberos takes for a server: krb5_cc_select.

GSS-API asks it too, and says the answer only once the server has accepted. A person wants it when the server has not.
"""

import ctypes
from contextlib import ExitStack

_HOST_BASED = ctypes.c_int32(3)  # KRB5_NT_SRV_HST
#: They are opaque.
_Pointer = ctypes.c_void_p


def chosen_for(service: str, host: str) -> str:
    """The principal; empty if nothing speaks for one of them (it is then that of the default cache), or this is not MIT Kerberos."""
    try:
        library = ctypes.CDLL("libkrb5.so.3")
    except OSError:
        return ""
    context, server, cache, client, name = (_Pointer() for _ in range(5))
    with ExitStack() as last:
        if library.krb5_init_context(ctypes.byref(context)) != 0:
            return ""
        last.callback(library.krb5_free_context, context)
        words = (host.encode(), service.encode(), _HOST_BASED)
        if library.krb5_sname_to_principal(context, *words, ctypes.byref(server)) != 0:
            return ""
        last.callback(library.krb5_free_principal, context, server)
        library.krb5_cc_select(context, server, ctypes.byref(cache), ctypes.byref(client))
        if cache:
            last.callback(library.krb5_cc_close, context, cache)
        # Whatever it returned: .k5identity may name somebody who has no ticket.
        if not client:
            return ""
        last.callback(library.krb5_free_principal, context, client)
        if library.krb5_unparse_name(context, client, ctypes.byref(name)) != 0:
            return ""
        last.callback(library.krb5_free_unparsed_name, context, name)
        return ctypes.string_at(name).decode(errors="replace")
