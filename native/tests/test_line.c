/* The line that all least-squares fits share: what it says of noise is what the weights of its counts say. */
#include "check.h"

#include <math.h>

#include "../src/line.h"

enum { N = 9 };
static const double times[N] = {0.4, 1.0, 1.5, 3.7, 4.0, 6.5, 6.6, 8.0, 20.0};

/* Variance of the sum of coefficient times count, where counts share the photons before the earlier one. */
static double poisson_of(const double *coefficients, const double *at, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            sum += coefficients[i] * coefficients[j] * fmin(at[i] - at[0], at[j] - at[0]);
    return sum;
}

static int agree(double a, double b) { return fabs(a - b) <= 1e-12 * (fabs(a) + fabs(b)); }

static void a_line_knows_its_squares_and_its_noise(double (*weight)(size_t))
{
    for (size_t n = 2; n <= N; n++) {
        lm_line line = {0};
        double sum = 0, sum_t = 0, squares = 0, coefficients[N];
        for (size_t i = 0; i < n; i++) {
            lm_line_add(&line, times[i], weight(i));
            sum += weight(i);
            sum_t += weight(i) * times[i];
        }
        for (size_t i = 0; i < n; i++) {
            coefficients[i] = weight(i) * (times[i] - sum_t / sum);
            squares += coefficients[i] * (times[i] - sum_t / sum);
        }
        CHECK(agree(line.weight, sum));
        CHECK(agree(line.mean, sum_t / sum));
        CHECK(agree(line.squares, squares));
        CHECK(agree(line.poisson, poisson_of(coefficients, times, n)));
    }
}

static double alike(size_t i) { return i < N ? 1 : 0; }
static double about_the_middle(size_t i) { return 0.1 + pow(fabs((double)i - 4) / 4, 3); }

/* Two parts share the slope: squares and variances of both add up. */
static void parts_of_a_broken_line_add_up(void)
{
    lm_line line = {0}, first = {0}, second = {0};
    for (size_t i = 0; i < N; i++) {
        if (i == 4)
            lm_line_break(&line);
        lm_line_add(&line, times[i], 1);
        lm_line_add(i < 4 ? &first : &second, times[i], 1);
    }
    CHECK(agree(line.mean, second.mean));
    CHECK(agree(line.squares, first.squares + second.squares));
    CHECK(agree(line.poisson, first.poisson + second.poisson));
}

int main(void)
{
    a_line_knows_its_squares_and_its_noise(alike);
    a_line_knows_its_squares_and_its_noise(about_the_middle);
    parts_of_a_broken_line_add_up();
    return 0;
}
