#include "check.h"

#include <math.h>

#include "lightmill/lightmill.h"

static void an_outlier_is_dropped_from_the_mean(void)
{
    float values[2 * 50];
    uint8_t good[2 * 50];
    double means[2];
    for (size_t k = 0; k < 50; k++) {
        values[k] = (float)(k % 2); /* mean 1/2 */
        values[50 + k] = 7.0f;
        good[k] = good[50 + k] = 1;
    }
    values[10] = 1e6f; /* was 0 */
    values[11] = NAN;  /* was 1 */
    CHECK(lm_clipped_mean(values, good, 2, 50, 3.0, means) == LM_OK);
    CHECK(means[0] == 0.5 && means[1] == 7.0);
    for (size_t k = 0; k < 50; k++)
        good[k] = 0;
    CHECK(lm_clipped_mean(values, good, 1, 50, 3.0, means) == LM_OK && isnan(means[0]));
    CHECK(lm_clipped_mean(values, NULL, 1, 0, 3.0, means) == LM_BAD_SHAPE);
    CHECK(lm_clipped_mean(values, NULL, 1, 50, 0.0, means) == LM_BAD_ARGUMENT);
}

static void the_median_runs_and_is_mirrored(void)
{
    const float column[6] = {0, 10, 20, 30, 40, 50};
    const uint8_t good[6] = {1, 1, 1, 0, 1, 1}, none[6] = {0};
    float medians[6];
    CHECK(lm_side_median(column, good, 1, 6, 1, 3, medians) == LM_OK);
    CHECK(medians[0] == 10); /* 10, 0, 10 */
    CHECK(medians[1] == 10 && medians[2] == 15 && medians[3] == 30 && medians[4] == 45);
    CHECK(medians[5] == 40); /* 40, 50, 40 */
    CHECK(lm_side_median(column, none, 1, 6, 1, 3, medians) == LM_OK && isnan(medians[2]));
    CHECK(lm_side_median(column, good, 1, 1, 1, 11, medians) == LM_OK && medians[0] == 0);
    /* two rows mirrored over eleven: the other row is met six times */
    CHECK(lm_side_median(column, good, 1, 2, 1, 11, medians) == LM_OK && medians[0] == 10 && medians[1] == 0);
    CHECK(lm_side_median(column, good, 1, 6, 1, 4, medians) == LM_BAD_ARGUMENT);
}

int main(void)
{
    an_outlier_is_dropped_from_the_mean();
    the_median_runs_and_is_mirrored();
    return 0;
}
