// The library of NVIDIA's driver where there is none: everything succeeds, and no kernel runs.
// What a kernel would have been given is copied to where the caller has said.

#include <string.h>

static int num_params, num_launches;
static const int *param_bytes;
static unsigned long long *param_values;

void observe(int count, const int *bytes, unsigned long long *values) {
  num_params = count;
  param_bytes = bytes;
  param_values = values;
}

int launches(void) { return num_launches; }

int cuLaunchKernelEx(const void *config, void *function, void **params, void **extra) {
  num_launches++;
  for (int i = 0; i < num_params; i++)
    memcpy(&param_values[i], params[i], param_bytes[i]);
  return 0;
}

int cuLaunchKernel(void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                   unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                   void *stream, void **params, void **extra) {
  return cuLaunchKernelEx(0, function, params, extra);
}

int cuPointerGetAttribute(void *data, int attribute, unsigned long long pointer) {
  memcpy(data, &pointer, sizeof pointer);
  return 0;
}

// A size that is large enough, whatever is asked for: threads, registers or bytes.
int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = 1 << 20, 0; }
int cuFuncGetAttribute(int *value, int attribute, void *function) { return *value = 1 << 10, 0; }

static int some_handle(void **handle) { return *handle = &num_launches, 0; }
int cuCtxGetCurrent(void **context) { return some_handle(context); }
int cuDevicePrimaryCtxRetain(void **context, int device) { return some_handle(context); }
int cuModuleLoadData(void **module, const void *image) { return some_handle(module); }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  return some_handle(function);
}

int cuGetErrorString(int error, const char **text) { return *text = "no error", 0; }
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
int cuCtxSetCurrent(void *context) { return 0; }
int cuCtxGetLimit(unsigned long *value, int limit) { return *value = 0, 0; }
int cuCtxSetLimit(int limit, unsigned long value) { return 0; }
int cuFuncSetAttribute(void *function, int attribute, int value) { return 0; }
int cuFuncSetCacheConfig(void *function, int config) { return 0; }
int cuOccupancyMaxActiveClusters(int *count, void *function, const void *config) { return 0; }
int cuTensorMapEncodeTiled(void) { return 0; }
int cuTensorMapEncodeIm2col(void) { return 0; }
