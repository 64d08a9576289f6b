/*
 * The ways of looking at text: plain C, SSE2 (any x86-64), AVX2 (chosen at run
 * time), NEON (any 64-bit ARM).
 *
 * What is done in several ways is written once, in a template (*_tpl.h) that is
 * included once per way:
 *
 *   #define LB_WAY plain
 *   #include "event/json_tpl.h"
 *
 * In a template LB_NAME(name) is name_plain; LB_TARGET and LB_HERE are what its
 * functions begin with.  A table made by LB_EACH_WAY holds the results, in the
 * order of the enum.
 */

#ifndef _LB_WAYS_H_INCLUDED_
#define _LB_WAYS_H_INCLUDED_

#if defined(__x86_64__)
#define LB_WAYS_X86 1
#else
#define LB_WAYS_X86 0
#endif

/* A big-endian ARM takes the plain way. */
#if defined(__aarch64__) && defined(__ARM_NEON) &&                             \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LB_WAYS_NEON 1
#else
#define LB_WAYS_NEON 0
#endif

enum {
    LB_WAY_PLAIN,
#if LB_WAYS_X86
    LB_WAY_SSE2,
    LB_WAY_AVX2,
#elif LB_WAYS_NEON
    LB_WAY_NEON,
#endif
    LB_WAYS
};

#if LB_WAYS_X86
#define LB_EACH_WAY(f)                                                         \
    {                                                                          \
        f##_plain, f##_sse2, f##_avx2                                          \
    }
#elif LB_WAYS_NEON
#define LB_EACH_WAY(f)                                                         \
    {                                                                          \
        f##_plain, f##_neon                                                    \
    }
#else
#define LB_EACH_WAY(f)                                                         \
    {                                                                          \
        f##_plain                                                              \
    }
#endif

extern const char *const lb_way_names[LB_WAYS];

/* How many of them this processor has, from the first one on. */
unsigned lb_ways(void);

/* The best of them, the last. */
unsigned lb_way(void);

#define lb_likely(x) __builtin_expect(!!(x), 1)
#define lb_unlikely(x) __builtin_expect(!!(x), 0)
#define LB_COLD __attribute__((noinline, cold))
#define LB_INLINE static inline __attribute__((always_inline, unused))

/* Of functions, and of those that are only parts of them, by way. */
#define LB_FN_plain
#define LB_FN_sse2
#define LB_FN_avx2 __attribute__((target("avx2,bmi,bmi2")))
#define LB_FN_neon
#define LB_PART_plain LB_INLINE
#define LB_PART_sse2 LB_INLINE
#define LB_PART_avx2                                                           \
    static inline                                                              \
        __attribute__((always_inline, unused, target("avx2,bmi,bmi2")))
#define LB_PART_neon LB_INLINE

#define LB_JOIN_(a, b) a##_##b
#define LB_JOIN(a, b) LB_JOIN_(a, b)
#define LB_NAME(name) LB_JOIN(name, LB_WAY)
#define LB_TARGET LB_NAME(LB_FN)
#define LB_HERE LB_NAME(LB_PART)

#endif /* _LB_WAYS_H_INCLUDED_ */
