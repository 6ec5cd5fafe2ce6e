// Relocatable device code: the kernel calls a function of linked_b.cu, so a device link must come first.
extern __device__ float twice(float value);

__global__ void linked_kernel(float *values_N, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values_N[i] = twice(values_N[i]);
}

extern "C" void linked(float *values_N, int n) { linked_kernel<<<(n + 255) / 256, 256>>>(values_N, n); }
