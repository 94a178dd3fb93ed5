/* One macro: say what was expected, where, and fail. */
#ifndef LM_TEST_CHECK_H
#define LM_TEST_CHECK_H
#include <stdio.h>
#include <stdlib.h>

#define CHECK(claim)                                                       \
    do {                                                                   \
        if (!(claim)) {                                                    \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #claim); \
            exit(1);                                                       \
        }                                                                  \
    } while (0)

/* A ramp without gaps. */
#define SHAPE(ints, groups, rows, cols) \
    (lm_shape){(ints), (groups), (rows), (cols), (size_t)(groups) * (rows) * (cols), (size_t)(rows) * (cols)}

#endif
