#include "agent.h"

/* The right to create instances of the pipe, which GENERIC_WRITE would bring, is not asked for. */
enum { ACCESS = FILE_READ_DATA | FILE_WRITE_DATA | READ_CONTROL };
/* A false agent must not be able to act as the system: it learns not even who called. */
enum { FLAGS = FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_ANONYMOUS };

static DWORD left(ULONGLONG end)
{
    ULONGLONG now = GetTickCount64();
    return now < end ? (DWORD)(end - now) : 0;
}

static HANDLE open_pipe(ULONGLONG end)
{
    HANDLE pipe = CreateFileW(AGENT_PIPE, ACCESS, 0, NULL, OPEN_EXISTING, FLAGS, NULL);
    if (pipe != INVALID_HANDLE_VALUE || GetLastError() != ERROR_PIPE_BUSY)
        return pipe;
    DWORD patience = left(end); /* 0 would mean the server's own default */
    if (patience == 0 || !WaitNamedPipeW(AGENT_PIPE, patience))
        return INVALID_HANDLE_VALUE;
    return CreateFileW(AGENT_PIPE, ACCESS, 0, NULL, OPEN_EXISTING, FLAGS, NULL);
}

/* Waits for what was started, and calls it off when the time is over; behind it nobody uses the buffer any more. */
static bool finish(HANDLE pipe, OVERLAPPED *io, BOOL started, DWORD wanted, ULONGLONG end)
{
    DWORD moved = 0;
    if (!started && GetLastError() != ERROR_IO_PENDING)
        return false;
    if (WaitForSingleObject(io->hEvent, left(end)) != WAIT_OBJECT_0)
        CancelIoEx(pipe, io);
    return GetOverlappedResult(pipe, io, &moved, TRUE) && moved == wanted;
}

static bool send_frame(HANDLE pipe, const uint8_t *frame, size_t size, HANDLE done, ULONGLONG end)
{
    OVERLAPPED io = {.hEvent = done};
    return finish(pipe, &io, WriteFile(pipe, frame, (DWORD)size, NULL, &io), (DWORD)size, end);
}

static bool receive_answer(HANDLE pipe, uint8_t *answer, HANDLE done, ULONGLONG end)
{
    OVERLAPPED io = {.hEvent = done};
    return finish(pipe, &io, ReadFile(pipe, answer, ANSWER_BYTES, NULL, &io), ANSWER_BYTES, end);
}

static enum outcome converse(HANDLE pipe, const uint8_t *frame, size_t size, uint64_t number, HANDLE done, ULONGLONG end)
{
    uint8_t answer[ANSWER_BYTES];
    if (!served_by_system(pipe))
        return AGENT_NOT_SYSTEM;
    if (!send_frame(pipe, frame, size, done, end) || !receive_answer(pipe, answer, done, end))
        return AGENT_SILENT;
    switch (answer_read(answer, number)) {
    case TAKEN:
        return AGENT_TOOK;
    case DISCARD:
        return AGENT_DISCARDED;
    default:
        return AGENT_LATER;
    }
}

enum outcome agent_tell(const uint8_t *frame, size_t size, uint64_t number, HANDLE done)
{
    ULONGLONG end = GetTickCount64() + AGENT_PATIENCE;
    HANDLE pipe = open_pipe(end);
    if (pipe == INVALID_HANDLE_VALUE)
        return GetLastError() == ERROR_FILE_NOT_FOUND ? AGENT_ABSENT : AGENT_SILENT;
    enum outcome outcome = converse(pipe, frame, size, number, done, end);
    CloseHandle(pipe);
    return outcome;
}
