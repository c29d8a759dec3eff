/* Durations by size, so that percentiles are known to 1 %. */
#ifndef LATENCY_H
#define LATENCY_H

#include <stdint.h>

void latency_add(uint64_t nanoseconds);
double latency_percentile(double share); /* in microseconds */
double latency_mean(void);
double latency_max(void);

#endif
