/* lm-readout: raw reads in a FITS file to a frame. See docs/how-to/c-library.md. */
#define _GNU_SOURCE /* getopt_long, mkstemp */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "reduce.h"

enum { PATH_LENGTH = 4096, MAX_TIMES = 65536 };

static const char usage[] =
    "usage: lm-readout [-s utr|cds|mcds] IN.fits[EXTENSION] [-o OUT.fits] [options]\n"
    "\n"
    "Samples the reads (columns, rows, reads[, ramps]) of the first image with three axes or more, or of the\n"
    "EXTENSION given: a number, a name, or NAME,VERSION. Ramps are coadded. Without -o prints the values.\n"
    "\n"
    "  -s, --sampling MODE     utr: slope of all reads (default); cds: last less first; mcds: groups of reads\n"
    "  -k, --group N           mcds: reads of a group (default 2)\n"
    "  -o, --output FILE       write SCI, ERR, VAR_POISSON, VAR_RNOISE and DQ\n"
    "  -f, --force             write over FILE\n"
    "  -u, --unit UNIT         counts (default) or rate\n"
    "  -i, --interval SECONDS  from one read to the next (default: TGROUP of the file)\n"
    "  -t, --times T,T,...     when each read of a ramp was taken, rising [s]\n"
    "  -g, --gain VALUE        electrons per DN (default 1)\n"
    "  -n, --read-noise VALUE  of one read [DN] (default 0)\n"
    "  -l, --saturation VALUE  raw counts from which reads are not used [DN]\n"
    "  -c, --coeffs FILE       planes of non-linearity coefficients, lowest power first\n"
    "  -F, --form FORM         gain: y = x (1 + c0 + c1 x + ...) (default); polynomial: y = c0 + c1 x + ...\n"
    "  -j, --threads N         threads to use (default 1)\n"
    "      --ignore-flags      do not use the extensions PIXELDQ and GROUPDQ\n"
    "      --as-published      compute as the published library does, faults included: no flags, no noise, no\n"
    "                          saturation, 32-bit products, transposed coefficients, corrected reads cut to integers\n"
    "  -h, --help              print this\n"
    "  -V, --version           print the version\n"
    "\n"
    "exit status: 0 done, 2 usage, 3 bad data, 5 output cannot be written, 70 no memory\n";

typedef struct {
    lm_reduction reduction;
    const char *input, *output, *coeffs;
    int overwrites;
    double times[MAX_TIMES];
} arguments;

static int say(int status, const char *place, const char *what)
{
    fprintf(stderr, "lm-readout: %s%s%s\n", place ? place : "", place ? ": " : "", what);
    return status;
}

static int say_value(const char *option, const char *found, const char *expected)
{
    fprintf(stderr, "lm-readout: --%s: a value out of range\n    found:    %.100s\n    expected: %s\n", option, found,
            expected);
    return LM_EXIT_USAGE;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static int take_real(const char *option, const char *text, double least, double *value)
{
    char *end;
    *value = strtod(text, &end);
    if (end == text || *end || !isfinite(*value) || *value < least || *value > 1e30)
        return say_value(option, text, least > 0 ? "a positive number" : "a number not below 0");
    return 0;
}

static int take_float(const char *option, const char *text, double least, float *value)
{
    double number = 0;
    const int wrong = take_real(option, text, least, &number);
    *value = (float)number;
    return wrong;
}

static int take_count(const char *option, const char *text, unsigned long most, size_t *count)
{
    char *end;
    errno = 0;
    const unsigned long value = strtoul(text, &end, 10);
    if (!isdigit((unsigned char)*text) || *end || errno || value < 1 || value > most)
        return say_value(option, text, "a count from 1");
    *count = value;
    return 0;
}

static int take_choice(const char *option, const char *text, const char *const choices[], int *number)
{
    for (int k = 0; choices[k]; k++)
        if (!strcmp(text, choices[k])) {
            *number = k;
            return 0;
        }
    char expected[100] = "";
    for (int k = 0; choices[k]; k++)
        snprintf(expected + strlen(expected), sizeof expected - strlen(expected), "%s%s", k ? ", " : "", choices[k]);
    return say_value(option, text, expected);
}

static int take_times(const char *text, arguments *a)
{
    const char *at = text;
    size_t n = 0;
    for (;; at++) {
        char *end;
        if (n == MAX_TIMES)
            return say_value("times", "more than 65536 times", "one for each read");
        a->times[n] = strtod(at, &end);
        if (end == at || !isfinite(a->times[n]) || (n && !(a->times[n] > a->times[n - 1])))
            return say_value("times", at, "rising numbers, with commas between them");
        n++;
        at = end;
        if (!*at)
            break;
        if (*at != ',')
            return say_value("times", at, "rising numbers, with commas between them");
    }
    a->reduction.times = a->times;
    a->reduction.n_times = n;
    return 0;
}

static int take_sampling(const char *text, lm_reduction *r)
{
    static const char *const modes[] = {"utr", "cds", "mcds", NULL};
    int mode = 0;
    const int wrong = take_choice("sampling", text, modes, &mode);
    r->sampling = mode ? LM_FOWLER : LM_UP_THE_RAMP;
    if (mode == 1)
        r->n_fowler = 1;
    return wrong;
}

static int take_option(int option, arguments *a)
{
    static const char *const units[] = {"rate", "counts", NULL}, *const forms[] = {"polynomial", "gain", NULL};
    lm_reduction *r = &a->reduction;
    int number = 0, wrong = 0;
    switch (option) {
    case 's': return take_sampling(optarg, r);
    case 'k': return take_count("group", optarg, MAX_TIMES, &r->n_fowler);
    case 'o': a->output = optarg; return 0;
    case 'f': a->overwrites = 1; return 0;
    case 'u':
        wrong = take_choice("unit", optarg, units, &number);
        r->unit = number ? LM_COUNTS : LM_RATE;
        return wrong;
    case 'i': return take_real("interval", optarg, 1e-12, &r->interval);
    case 't': return take_times(optarg, a);
    case 'g': return take_float("gain", optarg, 1e-12, &r->gain);
    case 'n': return take_float("read-noise", optarg, 0, &r->readnoise);
    case 'l': return take_float("saturation", optarg, 1e-12, &r->saturation);
    case 'c': a->coeffs = optarg; return 0;
    case 'F':
        wrong = take_choice("form", optarg, forms, &number);
        r->form = number ? LM_GAIN_POLYNOMIAL : LM_POLYNOMIAL;
        return wrong;
    case 'j': return take_count("threads", optarg, LM_MAX_THREADS, &r->n_threads);
    case 'I': r->ignores_flags = 1; return 0;
    case 'P': r->as_published = 1; return 0;
    default: return say(LM_EXIT_USAGE, NULL, "try 'lm-readout --help'");
    }
}

/* -1: go on; otherwise the exit status. */
static int take_arguments(int argc, char **argv, arguments *a)
{
    static const struct option options[] = {
        {"sampling", 1, NULL, 's'},     {"group", 1, NULL, 'k'},        {"output", 1, NULL, 'o'},
        {"force", 0, NULL, 'f'},        {"unit", 1, NULL, 'u'},         {"interval", 1, NULL, 'i'},
        {"times", 1, NULL, 't'},        {"gain", 1, NULL, 'g'},         {"read-noise", 1, NULL, 'n'},
        {"saturation", 1, NULL, 'l'},   {"coeffs", 1, NULL, 'c'},       {"form", 1, NULL, 'F'},
        {"threads", 1, NULL, 'j'},      {"ignore-flags", 0, NULL, 'I'}, {"as-published", 0, NULL, 'P'},
        {"help", 0, NULL, 'h'},         {"version", 0, NULL, 'V'},      {NULL, 0, NULL, 0}};
    a->reduction = (lm_reduction){.unit = LM_COUNTS, .form = LM_GAIN_POLYNOMIAL, .n_fowler = 2, .n_threads = 1};
    int option, is_cds = 0;
    while ((option = getopt_long(argc, argv, "s:k:o:fu:i:t:g:n:l:c:F:j:hV", options, NULL)) != -1) {
        if (option == 'h')
            return fputs(usage, stdout) < 0;
        if (option == 'V')
            return printf("lm-readout %s\n", LM_VERSION) < 0;
        const int wrong = take_option(option, a);
        if (wrong)
            return wrong;
        if (option == 's')
            is_cds = !strcmp(optarg, "cds");
    }
    if (is_cds)
        a->reduction.n_fowler = 1; /* whatever -k says */
    if (argc - optind != 1)
        return say(LM_EXIT_USAGE, NULL, "expected one input file; try 'lm-readout --help'");
    a->input = argv[optind];
    if (a->reduction.as_published && a->reduction.unit == LM_RATE)
        return say(LM_EXIT_USAGE, "--as-published", "the published library knows counts only");
    return -1;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* Split PATH[EXTENSION]; a file that is called so as a whole comes first. */
static int split_input(const char *input, char path[PATH_LENGTH], char extension[PATH_LENGTH])
{
    if (strlen(input) >= PATH_LENGTH)
        return say(LM_EXIT_USAGE, "input", "a name that is too long");
    strcpy(path, input);
    extension[0] = 0;
    char *bracket = strrchr(path, '[');
    if (!access(path, F_OK) || !bracket || path[strlen(path) - 1] != ']')
        return 0;
    path[strlen(path) - 1] = 0;
    strcpy(extension, bracket + 1);
    *bracket = 0;
    return 0;
}

static FILE *open_regular(const char *path)
{
    struct stat about;
    FILE *file = fopen(path, "rb");
    if (file && !fstat(fileno(file), &about) && S_ISDIR(about.st_mode)) {
        fclose(file);
        errno = EISDIR;
        return NULL;
    }
    return file;
}

/* Write aside, and put in place what is complete: nobody ever sees half a file. */
static int write_output(const arguments *a, FILE *input, const lm_reduced_frame *frame)
{
    char aside[PATH_LENGTH];
    lm_fits fits;
    if (snprintf(aside, sizeof aside, "%s.XXXXXX", a->output) >= PATH_LENGTH)
        return say(LM_EXIT_USAGE, "--output", "a name that is too long");
    if (!a->overwrites && !access(a->output, F_OK))
        return say(LM_EXIT_OUTPUT, a->output, "exists already; --force writes over it");
    const int handle = mkstemp(aside);
    FILE *file = handle < 0 ? NULL : fdopen(handle, "wb");
    if (!file) {
        if (handle >= 0)
            close(handle);
        return say(LM_EXIT_OUTPUT, a->output, strerror(errno));
    }
    errno = 0;
    int is_well = !lm_fits_open(&fits, input) && lm_write_frame(file, &fits, &a->reduction, frame);
    const mode_t mask = umask(0);
    umask(mask);
    is_well = is_well && !fflush(file) && !fchmod(handle, 0666 & ~mask) && !fsync(handle);
    const int reason = errno;
    is_well = !fclose(file) && is_well && !rename(aside, a->output);
    if (is_well)
        return 0;
    unlink(aside);
    return say(LM_EXIT_OUTPUT, a->output, strerror(reason ? reason : errno));
}

static int print_values(const lm_reduced_frame *frame)
{
    for (size_t x = 0; x < frame->n_rows * frame->n_cols; x++)
        printf("%f%c", (double)frame->planes.signal[x], (x + 1) % frame->n_cols ? ' ' : '\n');
    return ferror(stdout) || fflush(stdout) ? say(LM_EXIT_OUTPUT, "standard output", strerror(errno)) : 0;
}

static int reduce_files(arguments *a)
{
    static char path[PATH_LENGTH], extension[PATH_LENGTH];
    char message[300];
    lm_reduced_frame frame;
    int status = split_input(a->input, path, extension);
    if (status)
        return status;
    a->reduction.extension = *extension ? extension : NULL;
    FILE *input = open_regular(path);
    if (!input)
        return say(LM_EXIT_DATA, path, strerror(errno));
    FILE *coeffs = a->coeffs ? open_regular(a->coeffs) : NULL;
    if (a->coeffs && !coeffs) {
        fclose(input);
        return say(LM_EXIT_DATA, a->coeffs, strerror(errno));
    }
    status = lm_reduce(&a->reduction, input, coeffs, &frame, message);
    if (status)
        say(status, a->input, message);
    else
        status = a->output ? write_output(a, input, &frame) : print_values(&frame);
    lm_free_frame(&frame);
    if (coeffs)
        fclose(coeffs);
    fclose(input);
    return status;
}

int main(int argc, char **argv)
{
    static arguments a;
    const int status = take_arguments(argc, argv, &a);
    return status >= 0 ? status : reduce_files(&a);
}
