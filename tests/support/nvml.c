/* A stand-in for NVML, with the declarations of its nvml.h: one GPU, of which processes take what a file says.
 *
 * $NVML_FOLDER/processes has lines "pid bytes"; those whose process has ended count no more. $NVML_FOLDER/others
 * are bytes that somebody else holds. $NVML_FOLDER/mode: what is told of processes: "all"; "foreign": of other
 * ids, as in a container; "none": no bytes, as under WDDM; "unsupported": an error.
 * Compiled with -DVERSION=1, 2 or 3: that version of nvmlDeviceGetComputeRunningProcesses is there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef int nvmlReturn_t;
typedef struct nvmlDevice_st *nvmlDevice_t;
typedef struct { unsigned long long total, free, used; } nvmlMemory_t;
typedef struct { unsigned int pid; unsigned long long usedGpuMemory; } nvmlProcessInfo_v1_t;
typedef struct {
    unsigned int pid;
    unsigned long long usedGpuMemory;
    unsigned int gpuInstanceId;
    unsigned int computeInstanceId;
} nvmlProcessInfo_v2_t;

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
static const char *UUID = "GPU-00000000-stand-in";
static const unsigned long long TOTAL = 1000000000ull;

static FILE *file(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("NVML_FOLDER"), name);
    return fopen(path, "r");
}

static int mode(const char *wanted) {
    char found[64] = "all";
    FILE *in = file("mode");
    if (in) {
        if (fscanf(in, "%63s", found) != 1) found[0] = 0;
        fclose(in);
    }
    return strcmp(found, wanted) == 0;
}

static unsigned processes(unsigned pids[64], unsigned long long sizes[64]) {
    unsigned count = 0;
    FILE *in = file("processes");
    if (!in) return 0;
    while (count < 64 && fscanf(in, "%u %llu", &pids[count], &sizes[count]) == 2) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%u", pids[count]);
        if (access(path, F_OK) == 0) count++;
    }
    fclose(in);
    return count;
}

nvmlReturn_t nvmlInit_v2(void) { return SUCCESS; }
nvmlReturn_t nvmlDeviceGetCount_v2(unsigned int *count) { *count = 1; return SUCCESS; }
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
    *device = (nvmlDevice_t)UUID;
    return index == 0 ? SUCCESS : NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    *device = (nvmlDevice_t)UUID;
    return strcmp(uuid, UUID) == 0 ? SUCCESS : NOT_FOUND;
}
nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned int length) {
    snprintf(uuid, length, "%s", (const char *)device);
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned int length) {
    (void)device;
    snprintf(name, length, "Stand-in");
    return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    unsigned pids[64];
    unsigned long long sizes[64], others = 0;
    unsigned count = processes(pids, sizes);
    FILE *in = file("others");
    (void)device;
    if (in) {
        if (fscanf(in, "%llu", &others) != 1) others = 0;
        fclose(in);
    }
    memory->total = TOTAL;
    memory->used = others;
    for (unsigned i = 0; i < count; i++) memory->used += sizes[i];
    memory->free = TOTAL - memory->used;
    return SUCCESS;
}

#if VERSION == 1
#define NAME nvmlDeviceGetComputeRunningProcesses
typedef nvmlProcessInfo_v1_t Info;
#elif VERSION == 2
#define NAME nvmlDeviceGetComputeRunningProcesses_v2
typedef nvmlProcessInfo_v2_t Info;
#else
#define NAME nvmlDeviceGetComputeRunningProcesses_v3
typedef nvmlProcessInfo_v2_t Info;
#endif
nvmlReturn_t NAME(nvmlDevice_t device, unsigned int *count, Info *infos) {
    unsigned pids[64];
    unsigned long long sizes[64];
    unsigned found = processes(pids, sizes), room = *count;
    (void)device;
    if (mode("unsupported")) return NOT_SUPPORTED;
    *count = found;
    if (found == 0) return SUCCESS;
    if (room < found || infos == NULL) return INSUFFICIENT_SIZE;
    for (unsigned i = 0; i < found; i++) {
        memset(&infos[i], 0xFF, sizeof infos[i]);
        infos[i].pid = mode("foreign") ? pids[i] + 40000000 : pids[i];
        if (!mode("none")) infos[i].usedGpuMemory = sizes[i];
    }
    return SUCCESS;
}
