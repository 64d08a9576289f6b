/*
 * UUIDs: text and back, and new ones.
 */

#include "lb_uuid.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "lb_clock.h"

void
lb_uuid_format(const uint8_t uuid[LB_UUID_LEN], char text[LB_UUID_TEXT])
{
    size_t i, n = 0;
    static const char hex[] = "0123456789abcdef";

    for (i = 0; i < LB_UUID_LEN; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) {
            text[n++] = '-';
        }
        text[n++] = hex[uuid[i] >> 4];
        text[n++] = hex[uuid[i] & 15];
    }

    text[n] = '\0';
}

int
lb_uuid_parse(const char *text, uint8_t uuid[LB_UUID_LEN])
{
    size_t i, n = 0;
    int digit;

    for (i = 0; text[i] != '\0'; i++) {
        if (i == 8 || i == 13 || i == 18 || i == 23) {
            if (text[i] != '-') {
                return -EINVAL;
            }
            continue;
        }

        if (text[i] >= '0' && text[i] <= '9') {
            digit = text[i] - '0';
        } else if (text[i] >= 'a' && text[i] <= 'f') {
            digit = text[i] - 'a' + 10;
        } else if (text[i] >= 'A' && text[i] <= 'F') {
            digit = text[i] - 'A' + 10;
        } else {
            return -EINVAL;
        }

        if (n == 2 * LB_UUID_LEN) {
            return -EINVAL;
        }

        uuid[n / 2] = (uint8_t)(n % 2 ? uuid[n / 2] | digit : digit << 4);
        n++;
    }

    return n == 2 * LB_UUID_LEN ? 0 : -EINVAL;
}

static int
random_bytes(void *buf, size_t len)
{
    return getrandom(buf, len, 0) == (ssize_t)len ? 0 : -EIO;
}

void
lb_uuid_new(uint8_t uuid[LB_UUID_LEN])
{
    uint64_t t;

    if (random_bytes(uuid, LB_UUID_LEN) != 0) {
        t = lb_now_us() ^ (uint64_t)getpid() << 44;
        memcpy(uuid, &t, 8);
        memcpy(uuid + 8, &t, 8);
    }

    /* version 4, variant 1 (RFC 9562) */
    uuid[6] = (uint8_t)((uuid[6] & 0x0f) | 0x40);
    uuid[8] = (uint8_t)((uuid[8] & 0x3f) | 0x80);
}
