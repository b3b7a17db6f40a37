#include "frame.h"

static const uint8_t FRAME_MAGIC[4] = {'B', 'S', 'P', 'W'};
static const uint8_t ANSWER_MAGIC[4] = {'B', 'S', 'P', 'A'};

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> (8 * i));
}

static uint64_t get(const uint8_t *from, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)from[i] << (8 * i);
    return value;
}

void copy_bytes(uint8_t *to, const uint8_t *from, size_t count)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

void wipe(void *memory, size_t count)
{
    volatile uint8_t *at = memory;
    while (count-- > 0)
        *at++ = 0;
}

bool text_fits(struct text text, size_t limit)
{
    if (text.length == 0)
        return true;
    return text.at != NULL && text.length % 2 == 0 && text.length <= text.maximum && text.length <= limit;
}

size_t frame_write(uint8_t frame[FRAME_BYTES], const uint8_t marker[MARKER_BYTES], uint32_t lost, const struct change *change)
{
    size_t size = (size_t)HEADER_BYTES + change->name_bytes + change->password_bytes;
    copy_bytes(frame, FRAME_MAGIC, sizeof FRAME_MAGIC);
    put(frame + 4, FRAME_VERSION, 2);
    put(frame + 6, size, 2);
    put(frame + 8, change->rid, 4);
    put(frame + 12, lost, 4);
    copy_bytes(frame + 16, marker, MARKER_BYTES);
    put(frame + 32, change->number, 8);
    put(frame + 40, change->changed_at, 8);
    put(frame + 48, change->name_bytes, 2);
    put(frame + 50, change->password_bytes, 2);
    put(frame + 52, 0, 4);
    copy_bytes(frame + HEADER_BYTES, change->name, change->name_bytes);
    copy_bytes(frame + HEADER_BYTES + change->name_bytes, change->password, change->password_bytes);
    return size;
}

enum verdict answer_read(const uint8_t answer[ANSWER_BYTES], uint64_t number)
{
    uint64_t said = get(answer + 4, 4);
    for (unsigned i = 0; i < sizeof ANSWER_MAGIC; i++)
        if (answer[i] != ANSWER_MAGIC[i])
            return LATER;
    if (get(answer + 8, 8) != number)
        return LATER;
    return said == TAKEN ? TAKEN : said == DISCARD ? DISCARD : LATER;
}
