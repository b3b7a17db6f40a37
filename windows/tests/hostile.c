/* Frame and queue with nonsense, always the same: with the sanitizers of the Linux compiler, and under wine. Writes every frame that it made to standard output;
   a wrong step ends it (abort). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <fcntl.h>
#include <io.h>
#endif

#include "../queue.h"

enum { ROUNDS = 20000 };

static uint64_t state = 88172645463325252u;

static uint64_t any(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void must(bool right)
{
    if (!right)
        abort();
}

/* A block of exactly as many bytes as the text may be read. */
static struct text some_text(uint8_t **block)
{
    size_t room = any() % 700, claims = any() % 8 == 0 ? any() % 65536 : room;
    *block = malloc(room);
    for (size_t i = 0; i < room; i++)
        (*block)[i] = (uint8_t)any();
    struct text made = {room == 0 || any() % 16 == 0 ? NULL : *block, claims, room};
    return made;
}

static bool is_wiped(const struct change *slot)
{
    const uint8_t *at = (const uint8_t *)slot;
    for (size_t i = 0; i < sizeof *slot; i++)
        if (at[i] != 0)
            return false;
    return true;
}

int main(void)
{
    static struct queue queue;
    static const uint8_t marker[MARKER_BYTES] = "0123456789abcde";
    uint8_t frame[FRAME_BYTES];
    uint64_t last_time = 0, last_number = 0;
#ifdef _WIN32
    _setmode(_fileno(stdout), _O_BINARY);
#endif
    for (unsigned i = 0; i < ROUNDS; i++) {
        uint8_t *blocks[2];
        struct text name = some_text(&blocks[0]), password = some_text(&blocks[1]);
        struct moment now = {UINT64_C(133000000000000000) + i / 3, i};
        uint32_t lost = queue.lost;
        bool room = queue.count < QUEUE_SLOTS;
        bool put = queue_put(&queue, (uint32_t)any(), name, password, now);
        must(put == (room && text_fits(password, PASSWORD_BYTES)));
        must(queue.lost == lost + (put ? 0 : 1));
        free(blocks[0]);
        free(blocks[1]);
        while (queue.count > 0 && any() % 2 == 0) {
            const struct change *first = queue_first(&queue);
            size_t size = frame_write(frame, marker, queue.lost, first);
            must(size <= FRAME_BYTES && first->number == last_number + 1 && first->changed_at >= last_time + 10);
            last_number = first->number;
            last_time = first->changed_at;
            must(fwrite(frame, 1, size, stdout) == size);
            queue_forget(&queue, false);
            must(is_wiped(first));
        }
        uint8_t answer[ANSWER_BYTES];
        for (size_t k = 0; k < sizeof answer; k++)
            answer[k] = (uint8_t)any();
        must(answer_read(answer, 1) == LATER);
    }
    return 0;
}
