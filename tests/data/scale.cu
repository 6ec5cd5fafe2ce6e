// A usual translation unit: one kernel and the host function that launches it.
__global__ void scale_kernel(float *values_N, float factor, int n) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) values_N[i] *= factor;
}

extern "C" void scale(float *values_N, float factor, int n) {
    scale_kernel<<<(n + 255) / 256, 256>>>(values_N, factor, n);
}
