// The other half of linked_a.cu.
__device__ float twice(float value) { return value + value; }
