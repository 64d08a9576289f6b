/*
 * Fuzzer of an input format: built once per format, whose row LB_FUZZ_FORMAT
 * names.  Whatever the body is: nothing is read or written beside it, the same
 * body gives the same bytes in any room that suffices, each line that comes
 * out is a context or an event as the scanner writes it, and both are counted.
 */

#include "event/format.h"
#include "event/json.h"
#include "event/lines.h"

#include "tests/fuzz/check.h"

static void
check_lines(const uint8_t *out, const lb_scan_result_t *res)
{
    lb_lines_t lines;
    lb_line_t line;
    lb_scan_result_t one;
    uint32_t events = 0;

    lb_lines_start(&lines);
    lb_lines_view(&lines, out, res->out_len);
    while (lb_lines_next(&lines, &line)) {
        size_t skip = line.context ? 1 : 0;
        uint8_t *again = exactly(line.len + 1);

        CHECK(line.ends, "the last line has no end");
        CHECK(lb_scan_json(line.data + skip, line.len - skip, again,
                           line.len + 1, line.len, &one) == LB_SCAN_OK &&
                  one.events == 1 && one.out_len == line.len - skip + 1 &&
                  memcmp(again, line.data + skip, line.len - skip) == 0,
              "a line is no object as the scanner writes it");
        events += line.context ? 0 : 1;
        free(again);
    }
    CHECK(events == res->events, "events are miscounted");
    CHECK(res->contexts || !lb_lines_contexts(out, res->out_len),
          "a context is not told of");
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char params[] = "index\0app\0host\0h\0stream\0s\0service\0a";
    lb_reply_t reply = {0}, second = {0};
    lb_scan_options_t options = {
        .max_event = 4096,
        .max_body = 1 << 20,
        .patient = 1,
        .params = params,
        .params_len = sizeof(params),
        .reply = &reply,
    };
    size_t most = LB_FUZZ_FORMAT.out_max(size);
    lb_scan_result_t res, tight;
    lb_scan_status_t rc;
    uint8_t *out = NULL, *to;
    size_t cap;

    for (cap = size + 64;; cap = cap < most / 2 ? cap * 2 : most) {
        to = realloc(out, cap);
        CHECK(to != NULL, "no memory");
        out = to;
        reply.len = 0;
        rc = LB_FUZZ_FORMAT.scan(data, size, out, cap, &options, &res);
        if (rc != LB_SCAN_NOSPACE || cap >= most) {
            break;
        }
    }
    CHECK(rc != LB_SCAN_LATER, "it is patient");

    if (rc == LB_SCAN_BAD) {
        CHECK(res.error != NULL && res.offset <= size, "no error is named");
    }
    if (rc == LB_SCAN_OK) {
        CHECK(res.out_len <= cap, "out is overrun");
        check_lines(out, &res);

        to = exactly(res.out_len);
        options.reply = &second;
        rc = LB_FUZZ_FORMAT.scan(data, size, to, res.out_len, &options, &tight);
        CHECK(rc == LB_SCAN_NOSPACE ||
                  (rc == LB_SCAN_OK && tight.out_len == res.out_len &&
                   memcmp(to, out, res.out_len) == 0 &&
                   second.len == reply.len &&
                   (reply.len == 0 ||
                    memcmp(second.data, reply.data, reply.len) == 0)),
              "the same body gives other bytes");
        free(to);
    }

    free(out);
    lb_reply_free(&reply);
    lb_reply_free(&second);
    return 0;
}
