/* See latency.h. Each power of two is cut into 64 equal parts. */
#include "latency.h"

enum { PARTS = 64, LOG_PARTS = 6 };

static uint64_t counts[64 * PARTS], total, longest;
static double sum;

void latency_add(uint64_t ns) {
    int shift = ns < PARTS ? 0 : 63 - __builtin_clzll(ns) - LOG_PARTS;
    counts[shift * PARTS + (int)(ns >> shift)]++;
    total++;
    sum += (double)ns;
    if (ns > longest)
        longest = ns;
}

double latency_percentile(double share) {
    uint64_t left = (uint64_t)(share * (double)total);
    for (int i = 0; i < 64 * PARTS; i++) {
        if (counts[i] > left) {
            int shift = i < 2 * PARTS ? 0 : i / PARTS - 1;
            return (double)((uint64_t)(i - shift * PARTS) << shift) / 1e3;
        }
        left -= counts[i];
    }
    return latency_max();
}

double latency_mean(void) { return total ? sum / (double)total / 1e3 : 0; }

double latency_max(void) { return (double)longest / 1e3; }
