#include "flusher/clickhouse/errors.h"

#include <stddef.h>
#include <string.h>

/* Codes that a materialized view can cause after the table itself has the rows
 * are never DEFINITE: those are asked about. */
static const struct {
    int code;
    unsigned says;
} errors[] = {
    {6, LB_CH_DATA},  /* CANNOT_PARSE_TEXT */
    {26, LB_CH_DATA}, /* CANNOT_PARSE_QUOTED_STRING */
    {27, LB_CH_DATA}, /* CANNOT_PARSE_INPUT_ASSERTION_FAILED */
    /* ATTEMPT_TO_READ_AFTER_EOF: a value, or a file, ends too soon */
    {32, LB_CH_DATA | LB_CH_DAMAGE},
    {33, LB_CH_DAMAGE}, /* CANNOT_READ_ALL_DATA */
    {38, LB_CH_DATA},   /* CANNOT_PARSE_DATE */
    {40, LB_CH_DAMAGE}, /* CHECKSUM_DOESNT_MATCH */
    {41, LB_CH_DATA},   /* CANNOT_PARSE_DATETIME */
    {LB_CH_UNKNOWN_TABLE, LB_CH_DEFINITE},
    {62, LB_CH_DEFINITE}, /* SYNTAX_ERROR */
    {69, LB_CH_DATA},     /* ARGUMENT_OUT_OF_BOUND */
    {70, LB_CH_DATA},     /* CANNOT_CONVERT_TYPE */
    {72, LB_CH_DATA},     /* CANNOT_PARSE_NUMBER */
    {73, LB_CH_DEFINITE}, /* UNKNOWN_FORMAT */
    {74, LB_CH_DAMAGE},   /* CANNOT_READ_FROM_FILE_DESCRIPTOR */
    {76, LB_CH_DAMAGE},   /* CANNOT_OPEN_FILE */
    {LB_CH_UNKNOWN_DATABASE, LB_CH_DEFINITE},
    {LB_CH_UNKNOWN_SETTING, LB_CH_DEFINITE},
    {107, LB_CH_DAMAGE},            /* FILE_DOESNT_EXIST */
    {117, LB_CH_DATA},              /* INCORRECT_DATA */
    {131, LB_CH_DATA},              /* TOO_LARGE_STRING_SIZE */
    {153, LB_CH_DATA},              /* ILLEGAL_DIVISION */
    {158, LB_CH_SIZE},              /* TOO_MANY_ROWS */
    {159, LB_CH_SIZE | LB_CH_BUSY}, /* TIMEOUT_EXCEEDED */
    {160, LB_CH_SIZE | LB_CH_BUSY}, /* TOO_SLOW */
    {LB_CH_READONLY, LB_CH_DEFINITE},
    {192, LB_CH_DEFINITE | LB_CH_LOGIN}, /* UNKNOWN_USER */
    {193, LB_CH_DEFINITE | LB_CH_LOGIN}, /* WRONG_PASSWORD */
    {194, LB_CH_DEFINITE | LB_CH_LOGIN}, /* REQUIRED_PASSWORD */
    {195, LB_CH_DEFINITE},               /* IP_ADDRESS_NOT_ALLOWED */
    {201, LB_CH_DEFINITE | LB_CH_BUSY},  /* QUOTA_EXCEEDED */
    {202, LB_CH_DEFINITE | LB_CH_BUSY},  /* TOO_MANY_SIMULTANEOUS_QUERIES */
    {209, LB_CH_BUSY},                   /* SOCKET_TIMEOUT */
    {210, LB_CH_BUSY},                   /* NETWORK_ERROR */
    {216, LB_CH_BUSY},              /* QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING */
    {226, LB_CH_DAMAGE},            /* NO_FILE_IN_DATA_PART */
    {236, LB_CH_BUSY},              /* ABORTED */
    {241, LB_CH_SIZE | LB_CH_BUSY}, /* MEMORY_LIMIT_EXCEEDED */
    {243, LB_CH_BUSY},              /* NOT_ENOUGH_SPACE */
    {246, LB_CH_DAMAGE},            /* CORRUPTED_DATA */
    {291, LB_CH_DEFINITE},          /* DATABASE_ACCESS_DENIED */
    {307, LB_CH_SIZE},              /* TOO_MANY_BYTES */
    {319, LB_CH_BUSY},              /* UNKNOWN_STATUS_OF_INSERT */
    {321, LB_CH_DATA},              /* VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE */
    {349, LB_CH_DATA},              /* CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN */
    {376, LB_CH_DATA},              /* CANNOT_PARSE_UUID */
    {394, LB_CH_BUSY},              /* QUERY_WAS_CANCELLED */
    {395, LB_CH_DATA},              /* FUNCTION_THROW_IF_VALUE_IS_NON_ZERO */
    {396, LB_CH_SIZE},              /* TOO_MANY_ROWS_OR_BYTES */
    {407, LB_CH_DATA},              /* DECIMAL_OVERFLOW */
    {436, LB_CH_DATA},              /* INCORRECT_ELEMENT_OF_SET */
    {441, LB_CH_DATA},              /* CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING */
    {LB_CH_SETTING_CONSTRAINT, LB_CH_DEFINITE},
    {467, LB_CH_DATA}, /* CANNOT_PARSE_BOOL */
    {469, LB_CH_DATA}, /* VIOLATED_CONSTRAINT */
    {LB_CH_ACCESS_DENIED, LB_CH_DEFINITE},
    {516, LB_CH_DEFINITE | LB_CH_LOGIN}, /* AUTHENTICATION_FAILED */
    {675, LB_CH_DATA},                   /* CANNOT_PARSE_IPV4 */
    {676, LB_CH_DATA},                   /* CANNOT_PARSE_IPV6 */
    {691, LB_CH_DATA},                   /* UNKNOWN_ELEMENT_OF_ENUM */
    {999, LB_CH_BUSY},                   /* KEEPER_EXCEPTION */
};

unsigned
lb_ch_error(int code)
{
    size_t i;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        if (errors[i].code == code) {
            return errors[i].says;
        }
    }

    return 0;
}

int
lb_ch_no_table(int code)
{
    return code == LB_CH_UNKNOWN_TABLE || code == LB_CH_UNKNOWN_DATABASE;
}

int
lb_ch_blames_view(const char *body)
{
    return strstr(body, "while pushing to view") != NULL;
}

int
lb_ch_blames_size(long http, int code)
{
    return code != 0 ? (lb_ch_error(code) & LB_CH_SIZE) != 0 : http == 413;
}
