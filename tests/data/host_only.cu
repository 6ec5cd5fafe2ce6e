// A translation unit without device code: nvcc still gives it a container.
extern "C" int answer() { return 42; }
