/* Who is at the other end of the pipe. Anybody may create a pipe of our name before the agent does, and would be told every new password. So:
   (1) The pipe belongs to the system: only the system, or who may restore files anyway, can make it the owner of anything.
   (2) The process that serves it runs as the system. Its number alone would prove little: numbers are used again. */
#include "agent.h"

/* S-1-5-18, LocalSystem, as bytes ([MS-DTYP] 2.4.2.2). The tests name another: wine has no process of the system. */
#ifndef BASTIDE_SERVER_SID
#define BASTIDE_SERVER_SID 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0
#endif
static BYTE server_sid[] = {BASTIDE_SERVER_SID};

static bool is_owned(HANDLE pipe)
{
    union {
        SECURITY_DESCRIPTOR aligned;
        BYTE room[512];
    } found;
    DWORD used = 0;
    PSID owner = NULL;
    BOOL by_default = FALSE;
    return GetKernelObjectSecurity(pipe, OWNER_SECURITY_INFORMATION, &found, sizeof found, &used) &&
           GetSecurityDescriptorOwner(&found, &owner, &by_default) && owner != NULL && EqualSid(owner, server_sid);
}

static bool runs_as(HANDLE process)
{
    union {
        TOKEN_USER user;
        BYTE room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } found;
    HANDLE token = NULL;
    DWORD used = 0;
    if (!OpenProcessToken(process, TOKEN_QUERY, &token))
        return false;
    bool same = GetTokenInformation(token, TokenUser, &found, sizeof found, &used) && EqualSid(found.user.User.Sid, server_sid);
    CloseHandle(token);
    return same;
}

bool served_by_system(HANDLE pipe)
{
    ULONG id = 0;
    if (!is_owned(pipe) || !GetNamedPipeServerProcessId(pipe, &id)) /* (1) */
        return false;
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, id);
    if (process == NULL)
        return false;
    bool same = runs_as(process); /* (2) */
    CloseHandle(process);
    return same;
}
