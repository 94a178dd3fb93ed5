/* The straight line through the counts of a ramp: its slope, and what the noise of photons does to it, for
 * every least-squares fit here.
 *
 * With weights w_i at times t_i the slope is numerator / squares, where
 *     numerator = sum of w_i (t_i - mean) d_i,   squares = sum of w_i (t_i - mean)^2,
 * and its variance is that of the numerator over squares^2. What depends on times and weights alone follows
 * here from one time to the next, so that streams of reads and whole ramps share it. Whether the numerator
 * comes of two sums or of coefficients, in float64 or in float32, is the business of each fit. */
#ifndef LM_LINE_H
#define LM_LINE_H

typedef struct {
    double weight, mean; /* of the counts that share the intercept */
    double squares;
    double poisson; /* variance of the numerator for Poisson noise of unit rate */
    /* of the latest count less the weighted mean: variance, and covariance with the numerator (Poisson) */
    double last_time, last_variance, covariance;
} lm_line;

/* Add a time, later than all before; the first of all has a weight. Welford's update of the squares (1962,
 * Technometrics 4, 419), and the same for the variance: a count is the one before plus independent noise. */
static inline void lm_line_add(lm_line *line, double time, double weight)
{
    const int is_first = !(line->weight > 0);
    const double all = line->weight + weight, left = line->weight / all;
    const double step = is_first ? 0 : time - line->mean, factor = left * step * weight;
    const double variance = is_first ? 0 : line->last_variance + (time - line->last_time);
    line->squares += factor * step;
    line->poisson += factor * (2 * line->covariance + factor * variance);
    line->covariance = left * (line->covariance + factor * variance);
    line->last_variance = left * left * variance;
    line->mean = is_first ? time : line->mean + step * weight / all;
    line->last_time = time;
    line->weight = all;
}

/* Leave the counts so far to themselves: those to come share the slope, with an intercept of their own. */
static inline void lm_line_break(lm_line *line)
{
    line->weight = 0;
    line->mean = 0;
}

#endif
