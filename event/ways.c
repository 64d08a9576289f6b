#include "event/ways.h"

const char *const lb_way_names[LB_WAYS] = {
    "plain",
#if LB_WAYS_X86
    "sse2",
    "avx2",
#elif LB_WAYS_NEON
    "neon",
#endif
};

static unsigned ways = LB_WAYS;

#if LB_WAYS_X86

/* Before main, or when the module is loaded. */
__attribute__((constructor)) static void
look_at_processor(void)
{
    __builtin_cpu_init();
    /* all that code of this way uses, json_flat.c included */
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
          __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
          __builtin_cpu_supports("pclmul"))) {
        ways = LB_WAY_AVX2;
    }
}

#endif

unsigned
lb_ways(void)
{
    return ways;
}

unsigned
lb_way(void)
{
    return ways - 1;
}
