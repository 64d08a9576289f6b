/*
 * The scanner of JSON: see json.h for what it accepts and json_tpl.h for how.
 *
 * This file holds what is the same in every way: the words, and the choice of
 * the way.
 */

#include "event/json.h"
#include "event/json_flat.h"
#include "event/json_value.h"
#include "event/window.h"

/* Copied at once while compact lines go by: large enough that the copy's
 * start does not matter, small enough that it is still in the first cache. */
#define RUN_MAX 8192

/*
 * Words.  They name what was expected, or the rule that was broken.
 */
static const char words_object[] = "an event must be a JSON object";
static const char words_comma[] =
    "unexpected ',' between events: separate them by white space, or send "
    "an array";
static const char words_close[] = "nothing is open here to be closed";
static const char words_last_comma[] =
    "an event must follow the ',': remove it or add one";
static const char words_array[] =
    "expected ',' or ']' after an event of the array";
static const char words_cut_array[] =
    "the body ends inside an array of events: ']' is missing";
static const char words_depth[] = "the event is nested deeper than 128 levels";
static const char words_first_key[] = "expected a key in double quotes, or '}'";
static const char words_key[] = "expected a key in double quotes after ','";
static const char words_colon[] = "expected ':' after a key";
static const char words_object_after[] = "expected ',' or '}' after a value";
static const char words_array_after[] =
    "expected ',' or ']' after an array element";
static const char words_control[] =
    "a control character in a string must be escaped";

_Static_assert(LB_SCAN_DEPTH_MAX == 128, "words_depth says 128");
_Static_assert(LB_SCAN_DEPTH_MAX % 64 == 0, "the stack is made of words");

/* Words for a p that should be the first byte of an event. */
LB_COLD static const char *
words_item(const uint8_t *p, int array)
{
    if (array) {
        return *p == ']' ? words_last_comma : words_object;
    }
    if (*p == ',') {
        return words_comma;
    }
    if (*p == '}' || *p == ']') {
        return words_close;
    }
    return words_object;
}

#define LB_WAY plain
#include "event/json_tpl.h"
#if LB_WAYS_X86
#define LB_WAY sse2
#include "event/json_tpl.h"
#define LB_WAY avx2
#include "event/json_tpl.h"
#elif LB_WAYS_NEON
#define LB_WAY neon
#include "event/json_tpl.h"
#endif

const lb_scan_fn lb_json_ways[LB_WAYS] = LB_EACH_WAY(json);

lb_scan_status_t
lb_scan_json(const uint8_t *in, size_t len, uint8_t *out, size_t cap,
             size_t max_event, lb_scan_result_t *res)
{
    return lb_json_ways[lb_way()](in, len, out, cap, max_event, res);
}

/* Worst: {}{}{}..., a \n for every two bytes. */
size_t
lb_scan_json_out_max(size_t len)
{
    return len > SIZE_MAX / 2 ? SIZE_MAX : len + len / 2;
}
