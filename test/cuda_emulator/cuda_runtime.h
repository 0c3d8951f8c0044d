// Stands in for CUDA's header where a CPU runs voxel_cuda.cu in tests: blocks one after the other, the
// threads of a block as fibers that take turns at barriers. What a GPU does at the same time happens
// here in some order, so that a missing barrier shows only where that order matters; threads run
// backwards in every other round, which makes it matter more often.
#pragma once

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#define CUDA_EMULATOR
// The code of the device, not that of the host.
#define __CUDA_ARCH__ 900

#define __host__
#define __device__
#define __global__
#define __launch_bounds__(threads)
#define __shared__ static

using cudaStream_t = void*;
enum { cudaSuccess = 0 };

struct dim3 {
  unsigned x, y;
  dim3(unsigned x = 1, unsigned y = 1) : x(x), y(y) {}
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};

namespace cuda_emulator {

inline dim3 grid, block, thread;

struct Fiber {
  ucontext_t context;
  std::vector<char> stack;
  bool done;
};

inline ucontext_t scheduler;
inline std::vector<Fiber> fibers;
inline Fiber* current;
inline std::function<void()> body;

inline void enter() {
  body();
  current->done = true;
}

inline void barrier() { swapcontext(&current->context, &scheduler); }

inline void run_block(unsigned threads) {
  for (unsigned t = 0; t < threads; ++t) {
    Fiber& fiber = fibers[t];
    fiber.done = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.data();
    fiber.context.uc_stack.ss_size = fiber.stack.size();
    fiber.context.uc_link = &scheduler;
    makecontext(&fiber.context, enter, 0);
  }
  bool running = true;
  for (int round = 0; running; ++round) {
    running = false;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned t = round % 2 ? threads - 1 - i : i;
      if (fibers[t].done) continue;
      current = &fibers[t];
      thread = dim3(t, 0);
      swapcontext(&scheduler, &current->context);
      running = true;
    }
  }
}

template <typename... Parameters, typename... Arguments>
int run(void (*kernel)(Parameters...), dim3 blocks, unsigned threads,
        const Arguments&... arguments) {
  fibers.resize(threads);
  for (Fiber& fiber : fibers) fiber.stack.resize(1 << 16);
  // So few that threads take several items, as they do where a GPU has no more blocks.
  grid = dim3(std::min(blocks.x, 3u), std::min(blocks.y, 2u));
  body = [&] { kernel(arguments...); };
  for (unsigned y = 0; y < grid.y; ++y)
    for (unsigned x = 0; x < grid.x; ++x) {
      block = dim3(x, y);
      run_block(threads);
    }
  return cudaSuccess;
}

}  // namespace cuda_emulator

#define gridDim cuda_emulator::grid
#define blockIdx cuda_emulator::block
#define threadIdx cuda_emulator::thread

inline void __syncthreads() { cuda_emulator::barrier(); }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
template <typename T>
T __ldg(const T* place) {
  return *place;
}
inline void atomicAdd(float* place, float value) { *place += value; }
