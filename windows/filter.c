/* The password filter: what LSA calls, inside lsass.exe, on a domain controller.

   (1) All that can fail is done once, at the start. After it nothing is allocated.
   (2) LSA never waits for the agent: its thread copies into a queue of fixed size and goes on. A thread of our own tells the agent.
   (3) No change is ever refused or held up. What cannot be handed on is counted and said (event 6002).
   (4) Passwords lie in locked memory only, never in the page file, and are wiped as soon as the agent has them or their time is over.
   (5) The strings of LSA are never written to: other filters are called with them after us. */
#include <windows.h>

#include <ntsecapi.h>

#include "agent.h"
#include "queue.h"

#ifndef BASTIDE_KEEP
#define BASTIDE_KEEP 60000 /* ms that a change waits for an agent that is away: longer than a restart of it takes */
#endif
#ifndef BASTIDE_RETRY
#define BASTIDE_RETRY 1000 /* ms between two tries */
#endif
enum { QUIET = 60000 }; /* ms between two events */
enum { EVENT_FILTER = 6002 };

struct vault {
    struct queue queue;
    uint8_t frame[FRAME_BYTES];
    uint8_t marker[MARKER_BYTES]; /* random: with it the agent tells the changes of one start of lsass from those of another */
};

/* advapi32 exports RtlGenRandom under this name only. */
BOOLEAN NTAPI SystemFunction036(PVOID buffer, ULONG length);

BOOLEAN NTAPI InitializeChangeNotify(void);
BOOLEAN NTAPI PasswordFilter(PUNICODE_STRING account, PUNICODE_STRING full_name, PUNICODE_STRING password, BOOLEAN set);
NTSTATUS NTAPI PasswordChangeNotify(PUNICODE_STRING user_name, ULONG relative_id, PUNICODE_STRING new_password);
BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, LPVOID reserved);

static struct vault *vault;
static SRWLOCK lock = SRWLOCK_INIT;
static HANDLE wake;
static HANDLE done;
static HANDLE event_log;

/* ------------------------------------------------------------------------------------------------------------------ what is said */

static const WCHAR *reason_of(enum outcome outcome)
{
    switch (outcome) {
    case AGENT_ABSENT:
        return L"the agent does not run";
    case AGENT_SILENT:
        return L"the agent does not answer";
    case AGENT_LATER:
        return L"the agent cannot take changes now";
    case AGENT_NOT_SYSTEM:
        return L"the pipe \\\\.\\pipe\\bastide-agent is served by somebody who is not the system: nothing was told to it";
    default:
        return L"too many at once, or what came was no password";
    }
}

static void say(const WCHAR *reason, uint32_t lost)
{
    WCHAR digits[11] = {0};
    size_t at = 10;
    do {
        digits[--at] = (WCHAR)(L'0' + lost % 10);
        lost /= 10;
    } while (lost > 0 && at > 0);
    LPCWSTR texts[] = {reason, L"changes not handed to the agent since the start:", digits + at};
    if (event_log != NULL)
        ReportEventW(event_log, EVENTLOG_ERROR_TYPE, 0, EVENT_FILTER, NULL, 3, 0, texts, NULL);
}

/* Returns whether something is still unsaid. Only our own thread comes here: the event log may be slow. */
static bool report(enum outcome last)
{
    static enum outcome why = AGENT_TOOK;
    static uint32_t said;
    static ULONGLONG said_at;
    ULONGLONG now = GetTickCount64();
    AcquireSRWLockExclusive(&lock);
    uint32_t lost = vault->queue.lost;
    ReleaseSRWLockExclusive(&lock);
    if (last != AGENT_TOOK && last != AGENT_DISCARDED)
        why = last;
    if (lost == said && why != AGENT_NOT_SYSTEM)
        return false;
    if (said_at != 0 && now - said_at < QUIET)
        return true;
    say(reason_of(why), lost);
    why = AGENT_TOOK;
    said = lost;
    said_at = now;
    return false;
}

/* ---------------------------------------------------------------------------------------------------------------- our own thread */

static const struct change *oldest(uint32_t *lost)
{
    AcquireSRWLockExclusive(&lock);
    const struct change *first = queue_first(&vault->queue);
    *lost = vault->queue.lost;
    ReleaseSRWLockExclusive(&lock);
    return first;
}

static void forget(bool was_lost)
{
    AcquireSRWLockExclusive(&lock);
    queue_forget(&vault->queue, was_lost);
    ReleaseSRWLockExclusive(&lock);
}

/* In order, until the queue is empty or the agent cannot take more. */
static enum outcome tell_all(bool *waiting)
{
    enum outcome outcome = AGENT_TOOK;
    const struct change *change;
    uint32_t lost;
    while ((change = oldest(&lost)) != NULL) {
        size_t size = frame_write(vault->frame, vault->marker, lost, change);
        outcome = agent_tell(vault->frame, size, change->number, done);
        wipe(vault->frame, sizeof vault->frame);
        bool over = outcome == AGENT_TOOK || outcome == AGENT_DISCARDED;
        if (!over && GetTickCount64() - change->kept_since < BASTIDE_KEEP)
            break;
        forget(!over);
    }
    *waiting = change != NULL;
    return outcome;
}

static DWORD WINAPI work(LPVOID unused)
{
    bool again = false;
    (void)unused;
    while (WaitForSingleObject(wake, again ? BASTIDE_RETRY : INFINITE) != WAIT_FAILED) {
        bool waiting = false;
        enum outcome last = tell_all(&waiting);
        again = report(last) || waiting;
    }
    return GetLastError();
}

/* ------------------------------------------------------------------------------------------------------------------ what LSA calls */

static bool make_vault(void)
{
    struct vault *made = VirtualAlloc(NULL, sizeof *made, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    if (made == NULL)
        return false;
    if (!VirtualLock(made, sizeof *made) || !SystemFunction036(made->marker, MARKER_BYTES)) {
        VirtualFree(made, 0, MEM_RELEASE);
        return false;
    }
    vault = made;
    return true;
}

static bool start_thread(void)
{
    HMODULE self;
    /* Our thread runs as long as lsass does: this code must stay. */
    if (!GetModuleHandleExW(GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_PIN, (LPCWSTR)(const void *)&wake, &self))
        return false;
    HANDLE thread = CreateThread(NULL, 64 * 1024, work, NULL, 0, NULL);
    if (thread == NULL)
        return false;
    CloseHandle(thread);
    return true;
}

/* FALSE: LSA goes on without us. Then an event says so. */
BOOLEAN NTAPI InitializeChangeNotify(void)
{
    if (vault != NULL)
        return TRUE;
    event_log = RegisterEventSourceW(NULL, L"Bastide Password Filter");
    wake = CreateEventW(NULL, FALSE, FALSE, NULL);
    done = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (wake != NULL && done != NULL && make_vault()) {
        if (start_thread())
            return TRUE;
        VirtualFree(vault, 0, MEM_RELEASE);
        vault = NULL;
    }
    say(L"the filter could not start (memory, a lock on it, or a thread): no change will be handed on", 0);
    return FALSE;
}

/* The filter has no policy of its own. */
BOOLEAN NTAPI PasswordFilter(PUNICODE_STRING account, PUNICODE_STRING full_name, PUNICODE_STRING password, BOOLEAN set)
{
    (void)account;
    (void)full_name;
    (void)password;
    (void)set;
    return TRUE;
}

static struct text text_of(const UNICODE_STRING *string)
{
    struct text none = {NULL, 0, 0};
    struct text text;
    if (string == NULL)
        return none;
    text.at = string->Buffer;
    text.length = string->Length;
    text.maximum = string->MaximumLength;
    return text;
}

static struct moment this_moment(void)
{
    FILETIME time;
    struct moment now;
    GetSystemTimeAsFileTime(&time);
    now.time = (uint64_t)time.dwHighDateTime << 32 | time.dwLowDateTime;
    now.tick = GetTickCount64();
    return now;
}

NTSTATUS NTAPI PasswordChangeNotify(PUNICODE_STRING user_name, ULONG relative_id, PUNICODE_STRING new_password)
{
    if (vault == NULL || new_password == NULL)
        return 0; /* STATUS_SUCCESS; the return value changes nothing any more, the password is stored */
    struct moment now = this_moment();
    AcquireSRWLockExclusive(&lock);
    queue_put(&vault->queue, relative_id, text_of(user_name), text_of(new_password), now);
    ReleaseSRWLockExclusive(&lock);
    SetEvent(wake);
    return 0;
}

BOOL WINAPI DllMain(HINSTANCE module, DWORD reason, LPVOID reserved)
{
    (void)reserved;
    if (reason == DLL_PROCESS_ATTACH)
        DisableThreadLibraryCalls(module);
    return TRUE;
}
