/* Plays LSA for the tests: loads the filter and calls it. Prints one line of JSON. Usage: lsa.exe DLL SCENARIO [arguments].
   Secrets are made here, and kept exclusive-ored, so that a scan of our memory finds none of ours. */
#include <windows.h>

#include <ntsecapi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef BOOLEAN(NTAPI *initialize_fn)(void);
typedef BOOLEAN(NTAPI *filter_fn)(PUNICODE_STRING, PUNICODE_STRING, PUNICODE_STRING, BOOLEAN);
typedef NTSTATUS(NTAPI *notify_fn)(PUNICODE_STRING, ULONG, PUNICODE_STRING);

enum { PAGE = 4096, SECRET = 24, MASK = 0x5A };

static initialize_fn initialize;
static filter_fn filter;
static notify_fn notify;
static uint64_t calls;

static void fail(const char *what)
{
    fprintf(stderr, "lsa.exe: %s: error %lu\n", what, GetLastError());
    exit(2);
}

static FARPROC entry(HMODULE module, const char *name)
{
    FARPROC found = GetProcAddress(module, name);
    if (found == NULL)
        fail(name);
    return found;
}

static void load(const char *path)
{
    HMODULE module = LoadLibraryA(path);
    if (module == NULL)
        fail(path);
    initialize = (initialize_fn)(void (*)(void))entry(module, "InitializeChangeNotify");
    filter = (filter_fn)(void (*)(void))entry(module, "PasswordFilter");
    notify = (notify_fn)(void (*)(void))entry(module, "PasswordChangeNotify");
}

/* `bytes` that end exactly where no memory is any more: whoever reads one too many dies. */
static uint8_t *at_the_edge(size_t bytes)
{
    size_t pages = (bytes + PAGE - 1) / PAGE + 1;
    uint8_t *made = VirtualAlloc(NULL, (pages + 1) * PAGE, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    DWORD before;
    if (made == NULL || !VirtualProtect(made + pages * PAGE, PAGE, PAGE_NOACCESS, &before))
        fail("memory");
    return made + pages * PAGE - bytes;
}

static UNICODE_STRING text(uint8_t *at, size_t length, size_t maximum)
{
    UNICODE_STRING made = {(USHORT)length, (USHORT)maximum, (PWSTR)(void *)at};
    return made;
}

static UNICODE_STRING filled(size_t length, uint8_t with)
{
    uint8_t *at = at_the_edge(length);
    for (size_t i = 0; i < length; i++)
        at[i] = i % 2 == 0 ? (uint8_t)(with + i / 2 % 7) : 0;
    return text(at, length, length);
}

static void call(UNICODE_STRING *name, ULONG rid, UNICODE_STRING *password)
{
    if (notify(name, rid, password) != 0)
        fail("PasswordChangeNotify did not say success");
    calls++;
}

/* ------------------------------------------------------------------------------------------------------------------- scenarios */

static void hostile(void)
{
    UNICODE_STRING name = filled(10, 'a'), good = filled(16, 'A');
    UNICODE_STRING empty = text(NULL, 0, 0), nothing = text(NULL, 16, 16), odd = filled(16, 'B');
    UNICODE_STRING boast = filled(16, 'C'), huge = filled(0xFFFE, 'D'), limit = filled(512, 'E'), above = filled(514, 'F');
    uint8_t *high = at_the_edge(8);
    memcpy(high, "\x00\xD8\x00\x00\x0D\x00\x27\x00", 8); /* a lone surrogate, NUL, CR, quote */
    UNICODE_STRING strange = text(high, 8, 8);
    odd.Length = 15;
    boast.Length = 32;
    UNICODE_STRING *bad[] = {&nothing, &odd, &boast, &huge, &above};
    call(NULL, 1, NULL);
    call(&name, 2, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        call(&name, (ULONG)(100 + i), bad[i]); /* lost: 5 */
        call(bad[i], (ULONG)(200 + i), &good); /* goes on without the name */
        if (!filter(bad[i], bad[i], bad[i], TRUE))
            fail("PasswordFilter said no");
    }
    if (!filter(NULL, NULL, NULL, FALSE))
        fail("PasswordFilter said no");
    call(NULL, 300, &good);
    call(&empty, 301, &empty);
    call(&name, 302, &limit);
    call(&limit, 303, &strange);
    call(&name, 0xFFFFFFFF, &good);
    printf("{\"calls\": %llu}\n", (unsigned long long)calls);
}

/* COUNT calls, PAUSE ms between them. How long the longest took, in microseconds. */
static void longest(unsigned count, DWORD pause)
{
    UNICODE_STRING name = filled(10, 'a'), good = filled(16, 'A');
    LARGE_INTEGER per_second, begin, end;
    LONGLONG most = 0;
    QueryPerformanceFrequency(&per_second);
    for (unsigned i = 0; i < count; i++) {
        QueryPerformanceCounter(&begin);
        call(&name, i, &good);
        QueryPerformanceCounter(&end);
        LONGLONG took = (end.QuadPart - begin.QuadPart) * 1000000 / per_second.QuadPart;
        most = took > most ? took : most;
        Sleep(pause);
    }
    printf("{\"calls\": %llu, \"longest_us\": %lld}\n", (unsigned long long)calls, (long long)most);
}

struct share {
    unsigned thread;
    unsigned count;
};

static DWORD WINAPI one_of_many(LPVOID given)
{
    const struct share *share = given;
    UNICODE_STRING name = filled(10, 'a'), good = filled(16, 'A');
    for (unsigned i = 0; i < share->count; i++) {
        if (notify(&name, share->thread << 16 | i, &good) != 0)
            return 1;
        Sleep(share->count > 32 ? 0 : 20);
    }
    return 0;
}

static void many(unsigned threads, unsigned count)
{
    HANDLE running[16];
    struct share shares[16];
    threads = threads < 16 ? threads : 16;
    for (unsigned i = 0; i < threads; i++) {
        shares[i].thread = i + 1;
        shares[i].count = count;
        running[i] = CreateThread(NULL, 0, one_of_many, &shares[i], 0, NULL);
    }
    WaitForMultipleObjects(threads, running, TRUE, INFINITE);
    printf("{\"calls\": %u}\n", threads * count);
}

static size_t found_in(const uint8_t *at, size_t size, const uint8_t *masked)
{
    size_t found = 0;
    for (size_t i = 0; i + SECRET <= size; i++) {
        size_t same = 0;
        while (same < SECRET && at[i + same] == (masked[same] ^ MASK))
            same++;
        found += same == SECRET;
    }
    return found;
}

/* How often the secret lies in memory that can be read. */
static size_t scan(const uint8_t *masked)
{
    size_t found = 0;
    MEMORY_BASIC_INFORMATION region;
    for (uint8_t *at = NULL; VirtualQuery(at, &region, sizeof region) == sizeof region; at = (uint8_t *)region.BaseAddress + region.RegionSize)
        if (region.State == MEM_COMMIT && (region.Protect & (PAGE_NOACCESS | PAGE_GUARD)) == 0)
            found += found_in(region.BaseAddress, region.RegionSize, masked);
    return found;
}

/* One secret: how often it is found at once, and how often after MS milliseconds, in which the agent may take it. */
static void secret(DWORD wait)
{
    uint8_t *masked = at_the_edge(SECRET), *clear = at_the_edge(SECRET);
    UNICODE_STRING name = filled(10, 'a'), password = text(clear, SECRET, SECRET);
    for (size_t i = 0; i < SECRET; i++) {
        masked[i] = (uint8_t)((i % 2 == 0 ? 33 + i * 41 % 89 : 0) ^ MASK);
        clear[i] = masked[i] ^ MASK;
    }
    call(&name, 7, &password);
    SecureZeroMemory(clear, SECRET);
    size_t before = scan(masked);
    Sleep(wait);
    printf("{\"found_at_once\": %zu, \"found_later\": %zu}\n", before, scan(masked));
}

int main(int count, char **given)
{
    if (count < 3)
        return 64;
    unsigned first = count > 3 ? (unsigned)strtoul(given[3], NULL, 10) : 0;
    unsigned second = count > 4 ? (unsigned)strtoul(given[4], NULL, 10) : 0;
    unsigned stay = count > 5 ? (unsigned)strtoul(given[5], NULL, 10) : 0;
    load(given[1]);
    if (strcmp(given[2], "unstarted") == 0) {
        hostile();
        return 0;
    }
    if (!initialize() || !initialize())
        fail("InitializeChangeNotify");
    if (strcmp(given[2], "hostile") == 0)
        hostile();
    else if (strcmp(given[2], "longest") == 0)
        longest(first, second);
    else if (strcmp(given[2], "many") == 0)
        many(first, second);
    else if (strcmp(given[2], "secret") == 0)
        secret(first);
    else
        return 64;
    Sleep(stay); /* lsass would go on; our thread has this time for its work */
    return 0;
}
