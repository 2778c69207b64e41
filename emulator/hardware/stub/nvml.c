/*
 * A libnvidia-ml.so.1 that shows the devices of a table and computes nothing.
 *
 * The table is the file that LAZULITE_GPU_TABLE names, else /etc/lazulite-gpus: the
 * driver's version, a tab and CUDA's, and then a device a line, with tabs between UUID,
 * name, MB of memory, compute capability and PCI bus id. It is read at nvmlInit. What a table can't tell (clocks, heat, power) is
 * NVML_ERROR_NOT_SUPPORTED, as real boards answer for what they don't measure.
 *
 * Every symbol that clients look up is exported: a Go client that calls one that is
 * missing dies of it. It is linked with no library at all, so that one file serves
 * processes of whatever libc.
 */

typedef unsigned long long u64;
typedef unsigned int u32;

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7,
       DRIVER_NOT_LOADED = 9, VERSION_MISMATCH = 25 };

/* Of the libc that the process has, by the names that every one has. */
extern char *getenv(const char *);
extern int open(const char *, int, ...);
extern long read(int, void *, unsigned long);
extern int close(int);

struct device {
	char uuid[80], name[96], bus[32];
	u64 memory; /* bytes */
	u32 capability[2]; /* major, minor */
	u32 domain, bus_number, slot;
};

#define MOST 64
static struct device devices[MOST];
static u32 count;
static char driver[80];
static int cuda; /* 10000 for 10.0 */
static int users;

static u32 length(const char *s) { u32 n = 0; while (s[n]) n++; return n; }

static int equal(const char *a, const char *b) {
	while (*a && *a == *b) a++, b++;
	return *a == *b;
}

static int copy(char *to, u32 room, const char *from) {
	u32 i, n = length(from);
	if (!to) return INVALID_ARGUMENT;
	if (n + 1 > room) return INSUFFICIENT_SIZE;
	for (i = 0; i <= n; i++) to[i] = from[i];
	return SUCCESS;
}

static u64 number(const char *s, u32 base) {
	u64 n = 0;
	for (;; s++) {
		u32 digit = *s >= '0' && *s <= '9' ? *s - '0' : *s >= 'A' && *s <= 'F' ? *s - 'A' + 10 : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10 : 99;
		if (digit >= base) return n;
		n = n * base + digit;
	}
}

/* after is what follows the first c, "" where there is none. */
static const char *after(const char *s, char c) {
	while (*s && *s != c) s++;
	return *s ? s + 1 : s;
}

static void add(char *field[5]) {
	struct device *d = &devices[count];
	if (count == MOST || copy(d->uuid, sizeof d->uuid, field[0]) || copy(d->name, sizeof d->name, field[1]) || copy(d->bus, sizeof d->bus, field[4])) return;
	d->memory = number(field[2], 10) << 20;
	d->capability[0] = (u32)number(field[3], 10);
	d->capability[1] = (u32)number(after(field[3], '.'), 10);
	d->domain = (u32)number(d->bus, 16);
	d->bus_number = (u32)number(after(d->bus, ':'), 16);
	d->slot = (u32)number(after(after(d->bus, ':'), ':'), 16);
	count++;
}

static int load(void) {
	static char text[16384];
	const char *path = getenv("LAZULITE_GPU_TABLE");
	char *field[5];
	long n, at = 0, i;
	int fd = open(path && *path ? path : "/etc/lazulite-gpus", 0), f = 0;
	if (fd < 0) return DRIVER_NOT_LOADED;
	while (at < (long)sizeof text - 1 && (n = read(fd, text + at, sizeof text - 1 - at)) > 0) at += n;
	close(fd);
	text[at] = 0;
	count = 0;
	field[0] = text;
	for (i = 0; i < at; i++) {
		if (text[i] == '\t' && f < 4) {
			text[i] = 0;
			field[++f] = text + i + 1;
		} else if (text[i] == '\n') {
			text[i] = 0;
			if (f == 4) add(field);
			if (f == 1 && !copy(driver, sizeof driver, field[0])) cuda = (int)(number(field[1], 10) * 1000 + number(after(field[1], '.'), 10) * 10);
			f = 0;
			field[0] = text + i + 1;
		}
	}
	return SUCCESS;
}

/* valid turns a handle, which is where a device's entry is, back into it. */
static struct device *valid(void *handle) {
	struct device *d = handle;
	return users && d >= devices && d < devices + count ? d : 0;
}

#define API __attribute__((visibility("default"))) int
#define READY if (!users) return UNINITIALIZED
#define DEVICE struct device *d = valid(handle); READY; if (!d) return INVALID_ARGUMENT
#define OUT(p) if (!(p)) return INVALID_ARGUMENT

API nvmlInit_v2(void) {
	int r;
	if (!users && (r = load())) return r;
	users++;
	return SUCCESS;
}
API nvmlInit(void) { return nvmlInit_v2(); }
API nvmlInitWithFlags(u32 flags) { (void)flags; return nvmlInit_v2(); }
API nvmlShutdown(void) { READY; users--; return SUCCESS; }

__attribute__((visibility("default"))) const char *nvmlErrorString(int r) {
	switch (r) {
	case SUCCESS: return "Success";
	case UNINITIALIZED: return "Uninitialized";
	case INVALID_ARGUMENT: return "Invalid Argument";
	case NOT_SUPPORTED: return "Not Supported";
	case NOT_FOUND: return "Not Found";
	case INSUFFICIENT_SIZE: return "Insufficient Size";
	case DRIVER_NOT_LOADED: return "Driver Not Loaded";
	case VERSION_MISMATCH: return "Argument version mismatch";
	}
	return "Unknown Error";
}

API nvmlSystemGetDriverVersion(char *version, u32 room) { READY; return copy(version, room, driver); }
API nvmlSystemGetNVMLVersion(char *version, u32 room) { READY; return copy(version, room, driver); }
API nvmlSystemGetCudaDriverVersion_v2(int *version) { OUT(version); if (!users && load()) return DRIVER_NOT_LOADED; *version = cuda; return SUCCESS; }
API nvmlSystemGetCudaDriverVersion(int *version) { return nvmlSystemGetCudaDriverVersion_v2(version); }
API nvmlUnitGetCount(u32 *n) { READY; OUT(n); *n = 0; return SUCCESS; }

API nvmlDeviceGetCount_v2(u32 *n) { READY; OUT(n); *n = count; return SUCCESS; }
API nvmlDeviceGetCount(u32 *n) { return nvmlDeviceGetCount_v2(n); }
API nvmlDeviceGetHandleByIndex_v2(u32 index, void **handle) {
	READY; OUT(handle);
	if (index >= count) return INVALID_ARGUMENT;
	*handle = &devices[index];
	return SUCCESS;
}
API nvmlDeviceGetHandleByIndex(u32 index, void **handle) { return nvmlDeviceGetHandleByIndex_v2(index, handle); }
API nvmlDeviceGetHandleByUUID(const char *uuid, void **handle) {
	u32 i;
	READY; OUT(uuid); OUT(handle);
	for (i = 0; i < count; i++)
		if (equal(devices[i].uuid, uuid)) { *handle = &devices[i]; return SUCCESS; }
	return NOT_FOUND;
}
API nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **handle) {
	u32 i;
	READY; OUT(bus); OUT(handle);
	for (i = 0; i < count; i++)
		if (devices[i].domain == (u32)number(bus, 16) && devices[i].bus_number == (u32)number(after(bus, ':'), 16) &&
		    devices[i].slot == (u32)number(after(after(bus, ':'), ':'), 16)) { *handle = &devices[i]; return SUCCESS; }
	return NOT_FOUND;
}
API nvmlDeviceGetHandleByPciBusId(const char *bus, void **handle) { return nvmlDeviceGetHandleByPciBusId_v2(bus, handle); }

API nvmlDeviceGetName(void *handle, char *name, u32 room) { DEVICE; return copy(name, room, d->name); }
API nvmlDeviceGetUUID(void *handle, char *uuid, u32 room) { DEVICE; return copy(uuid, room, d->uuid); }
API nvmlDeviceGetIndex(void *handle, u32 *index) { DEVICE; OUT(index); *index = (u32)(d - devices); return SUCCESS; }
API nvmlDeviceGetMinorNumber(void *handle, u32 *minor) { return nvmlDeviceGetIndex(handle, minor); }
API nvmlDeviceGetBrand(void *handle, u32 *brand) { DEVICE; OUT(brand); *brand = 2 /* Tesla */; return SUCCESS; }

API nvmlDeviceGetCudaComputeCapability(void *handle, int *major, int *minor) {
	DEVICE; OUT(major); OUT(minor);
	*major = (int)d->capability[0];
	*minor = (int)d->capability[1];
	return SUCCESS;
}

API nvmlDeviceGetMemoryInfo(void *handle, u64 *m) {
	DEVICE; OUT(m);
	m[0] = m[1] = d->memory; /* total, free */
	m[2] = 0; /* used: nothing runs on it */
	return SUCCESS;
}

struct memory_v2 { u32 version; u64 total, reserved, free, used; };
API nvmlDeviceGetMemoryInfo_v2(void *handle, struct memory_v2 *m) {
	DEVICE; OUT(m);
	if (m->version != (sizeof *m | 2u << 24)) return VERSION_MISMATCH;
	m->total = m->free = d->memory;
	m->reserved = m->used = 0;
	return SUCCESS;
}

API nvmlDeviceGetUtilizationRates(void *handle, u32 *rates) { DEVICE; OUT(rates); rates[0] = rates[1] = 0; return SUCCESS; }
API nvmlDeviceGetComputeMode(void *handle, u32 *mode) { DEVICE; OUT(mode); *mode = 0; return SUCCESS; }
API nvmlDeviceGetPersistenceMode(void *handle, u32 *mode) { DEVICE; OUT(mode); *mode = 0; return SUCCESS; }

/* Versions 2 and 3 begin alike; 3 has the longer bus id at its end. */
struct pci { char legacy[16]; u32 domain, bus, device, id, subsystem; char id_of_bus[32]; };
API nvmlDeviceGetPciInfo_v3(void *handle, struct pci *p) {
	DEVICE; OUT(p);
	copy(p->legacy, sizeof p->legacy, length(d->bus) > 12 ? d->bus + length(d->bus) - 12 : d->bus);
	p->domain = d->domain, p->bus = d->bus_number, p->device = d->slot;
	p->id = 0x10de; /* vendor; which board it is the table does not say */
	p->subsystem = 0;
	return copy(p->id_of_bus, sizeof p->id_of_bus, d->bus);
}

/* Nothing runs on a device that computes nothing. */
#define NO_PROCESSES(name) API name(void *handle, u32 *n, void *list) { DEVICE; (void)list; OUT(n); *n = 0; return SUCCESS; }
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2)
NO_PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3)

#define UNSUPPORTED(name) API name(void) { return users ? NOT_SUPPORTED : UNINITIALIZED; }
#include "unsupported.h"
