#include "flusher/clickhouse/http.h"

#include <string.h>

int
lb_ch_definite(int code)
{
    size_t i;

    /* Thrown while the query is parsed, checked or admitted, before a block is
     * read.  Codes that a materialized view can cause after the table itself
     * has the rows are left out: those are asked about.
     * src/Common/ErrorCodes.cpp has the numbers. */
    static const int codes[] = {
        60,  /* UNKNOWN_TABLE */
        62,  /* SYNTAX_ERROR */
        73,  /* UNKNOWN_FORMAT */
        81,  /* UNKNOWN_DATABASE */
        115, /* UNKNOWN_SETTING */
        164, /* READONLY */
        192, /* UNKNOWN_USER */
        193, /* WRONG_PASSWORD */
        194, /* REQUIRED_PASSWORD */
        195, /* IP_ADDRESS_NOT_ALLOWED */
        201, /* QUOTA_EXCEEDED */
        202, /* TOO_MANY_SIMULTANEOUS_QUERIES */
        291, /* DATABASE_ACCESS_DENIED */
        452, /* SETTING_CONSTRAINT_VIOLATION */
        497, /* ACCESS_DENIED */
        516, /* AUTHENTICATION_FAILED */
    };

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == code) {
            return 1;
        }
    }

    return 0;
}

int
lb_ch_blames_view(const char *body)
{
    return strstr(body, "while pushing to view") != NULL;
}

int
lb_ch_blames_size(long http, int code)
{
    size_t i;

    static const int codes[] = {
        158, /* TOO_MANY_ROWS */
        159, /* TIMEOUT_EXCEEDED */
        160, /* TOO_SLOW */
        241, /* MEMORY_LIMIT_EXCEEDED */
        307, /* TOO_MANY_BYTES */
        396, /* TOO_MANY_ROWS_OR_BYTES */
    };

    if (code == 0) {
        return http == 413;
    }

    for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        if (codes[i] == code) {
            return 1;
        }
    }

    return 0;
}
