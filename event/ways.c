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

unsigned
lb_ways(void)
{
#if LB_WAYS_X86
    /* all that code of this way uses, json_flat.c included */
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
          __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt") &&
          __builtin_cpu_supports("pclmul"))) {
        return LB_WAY_AVX2;
    }
#endif
    return LB_WAYS;
}

unsigned
lb_way(void)
{
    return lb_ways() - 1;
}
