/* A driver library for tests: FAKE_GPUS devices. The last one answers nothing but its UUID. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, LOST = 15 };
typedef intptr_t device;
typedef struct { unsigned gpu, memory; } rates;
typedef struct { unsigned long long total, free, used; } memory;

static int count(void) { const char *text = getenv("FAKE_GPUS"); return text ? atoi(text) : 1; }
static int is_mute(device d) { return d == count(); }

int nvmlInitWithFlags(unsigned flags) { (void)flags; return OK; }
int nvmlInit_v2(void) { return OK; }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int error) { return error ? "no" : "yes"; }
int nvmlDeviceGetCount_v2(unsigned *n) {
    if (getenv("FAKE_LOST")) return LOST;
    *n = (unsigned)count();
    return OK;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, device *d) {
    if ((int)index >= count()) return NOT_FOUND;
    *d = (device)index + 1;
    return OK;
}
int nvmlDeviceGetUUID(device d, char *text, unsigned size) {
    snprintf(text, size, "GPU-shim-%d", (int)d - 1);
    return OK;
}
int nvmlDeviceGetUtilizationRates(device d, rates *r) {
    if (is_mute(d)) return NOT_SUPPORTED;
    r->gpu = 73;
    r->memory = 5;
    return OK;
}
int nvmlDeviceGetMemoryInfo(device d, memory *m) {
    if (is_mute(d)) return NOT_SUPPORTED;
    m->total = 1ULL << 36;
    m->used = 1ULL << 34;
    m->free = m->total - m->used;
    return OK;
}
int nvmlDeviceGetPowerUsage(device d, unsigned *milliwatts) {
    if (is_mute(d)) return NOT_SUPPORTED;
    *milliwatts = 250500;
    return OK;
}
