// The smallest kernel there can be: whatever is smaller than its cubin holds no kernel.
extern "C" __global__ void tiny() {}
