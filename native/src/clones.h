/* LM_CLONES in front of a function: compiled for several CPU levels, the best chosen at load time.
 * Bits do not differ between them, because the build forbids contraction (-ffp-contract=off). */
#ifndef LM_CLONES_H
#define LM_CLONES_H
#include <stdlib.h> /* defines __GLIBC__; without it the guard below is silently false */

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && !defined(LM_NO_CLONES)
#define LM_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define LM_CLONES
#endif

#endif
