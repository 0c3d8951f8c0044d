// The voxel op on GPUs: one launch for all boxes, views and joints, one thread a voxel (or a pixel).
// The same C interface as voxel_cpu.cpp; each function returns a cudaError_t. Pointers within the
// problem are the device's, the problem itself and strides are the host's.
//
// test/cuda_emulator stands in for CUDA's headers where a CPU runs this file in tests.

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "voxel_items.h"

namespace {

constexpr int kThreads = 128;
// Of a grid along each axis; beyond them threads take several items.
constexpr int64_t kMostBlocks = 1 << 20, kMostRows = 65535;

struct Strides {
  int64_t of[5];
};

// Calls kernel(arguments) with blocks for `rows` rows of `count` items.
template <typename... Parameters, typename... Arguments>
int launch(void (*kernel)(Parameters...), int64_t rows, int64_t count, cudaStream_t stream,
           const Arguments&... arguments) {
  if (rows == 0 || count == 0) return cudaSuccess;
  const int64_t wanted = (count + kThreads - 1) / kThreads;
  const dim3 grid(static_cast<unsigned>(wanted < kMostBlocks ? wanted : kMostBlocks),
                  static_cast<unsigned>(rows < kMostRows ? rows : kMostRows));
#ifdef CUDA_EMULATOR
  return cuda_emulator::run(kernel, grid, kThreads, arguments...);
#else
  kernel<<<grid, kThreads, 0, stream>>>(arguments...);
  return cudaGetLastError();
#endif
}

// Calls f(row, item) for the items of this thread.
template <typename F>
__device__ void for_items(int64_t rows, int32_t count, F f) {
  for (int64_t row = blockIdx.y; row < rows; row += gridDim.y)
    for (int64_t item = int64_t(blockIdx.x) * kThreads + threadIdx.x; item < count;
         item += int64_t(gridDim.x) * kThreads)
      f(row, static_cast<int32_t>(item));
}

VOXEL_FUNCTION int64_t image_count(const VoxelProblem& problem) {
  return problem.scenes * problem.view_count;
}

VOXEL_FUNCTION int32_t map_pixels(const VoxelProblem& problem) {
  return problem.heatmap_height * problem.heatmap_width;
}

VOXEL_FUNCTION int group_count(const VoxelProblem& problem) {
  return problem.padded_joints / VOXEL_GROUP;
}

// Copies `count` elements from shared to global memory, both 16-byte aligned, with all threads.
template <typename Element>
__device__ void copy_out(const Element* from, int count, Element* to) {
  constexpr int kTogether = 16 / sizeof(Element);
  const int whole = count / kTogether;
  for (int i = threadIdx.x; i < whole; i += kThreads)
    reinterpret_cast<uint4*>(to)[i] = reinterpret_cast<const uint4*>(from)[i];
  for (int i = whole * kTogether + threadIdx.x; i < count; i += kThreads) to[i] = from[i];
}

// Averages kGroups groups of joints from `joint` on of one voxel, and writes those that are real to
// place[0], place[stride] ...
template <int kGroups, typename Element>
__device__ void average(const VoxelProblem& problem, const VoxelItem& item, int joint,
                        Element* place, int64_t stride) {
  float mean[kGroups * VOXEL_GROUP];
  voxel_item_mean<kGroups>(problem, item, joint, mean);
  for (int j = 0; j < kGroups * VOXEL_GROUP; ++j)
    if (joint + j < problem.joints)
      voxel_store(fminf(fmaxf(mean[j], 0.0f), 1.0f), place + j * stride);
}

// kGroups: of all joints, or as many as a thread keeps.
template <int kGroups, typename Element>
__global__ void __launch_bounds__(kThreads) forward(VoxelProblem problem, Element* volume) {
  // Channels last, a voxel's joints are an odd number of bytes apart from the next one's: they are
  // gathered here, so that a block writes whole sectors of memory.
  alignas(16) __shared__ Element staged[kThreads * kGroups * VOXEL_GROUP];
  const int joints = problem.joints;
  const bool stages = problem.channels_last && joints <= kGroups * VOXEL_GROUP;
  const int64_t count = voxel_count(problem), stride = problem.channels_last ? 1 : count;
  for (int64_t box = blockIdx.y; box < problem.boxes; box += gridDim.y)
    for (int64_t first = int64_t(blockIdx.x) * kThreads; first < count;
         first += int64_t(gridDim.x) * kThreads) {
      const int64_t voxel = first + threadIdx.x;
      if (voxel < count) {
        const VoxelItem item = voxel_item(problem, box, static_cast<int32_t>(voxel));
        for (int joint = 0; joint < joints; joint += kGroups * VOXEL_GROUP)
          average<kGroups>(problem, item, joint,
                           stages ? staged + threadIdx.x * joints
                                  : volume + voxel_place(problem, box, voxel, joint),
                           stride);
      }
      if (!stages) continue;
      __syncthreads();
      const int64_t rest = count - first;
      const int elements = static_cast<int>(rest < kThreads ? rest : kThreads) * joints;
      Element* place = volume + voxel_place(problem, box, first, 0);
      if (reinterpret_cast<uintptr_t>(place) % 16 == 0)
        copy_out(staged, elements, place);
      else
        for (int i = threadIdx.x; i < elements; i += kThreads) place[i] = staged[i];
      __syncthreads();
    }
}

__global__ void __launch_bounds__(kThreads)
    backward(VoxelProblem problem, const float* gradient, float* packed) {
  const int groups = group_count(problem);
  for_items(problem.boxes * groups, voxel_count(problem), [&](int64_t row, int32_t voxel) {
    voxel_backward_item(problem, row / groups, row % groups, voxel, gradient, packed);
  });
}

__global__ void pack(VoxelProblem problem, const float* heatmaps, Strides strides, float* packed,
                     uint8_t* marks) {
  for_items(image_count(problem), voxel_image_pixels(problem), [&](int64_t image, int32_t pixel) {
    voxel_pack_item(problem, image, pixel, heatmaps, strides.of, packed, marks);
  });
}

__global__ void occupy(VoxelProblem problem, const uint8_t* marks, uint8_t* occupied) {
  for_items(image_count(problem), voxel_image_pixels(problem), [&](int64_t image, int32_t pixel) {
    voxel_occupied_item(problem, image, pixel, marks, occupied);
  });
}

__global__ void locate(VoxelProblem problem, VoxelSpots spots) {
  const int views = problem.view_count;
  for_items(problem.boxes * views, voxel_count(problem), [&](int64_t row, int32_t voxel) {
    voxel_spot_item(problem, row / views, row % views, voxel, spots);
  });
}

__global__ void unpack(VoxelProblem problem, const float* packed, float* heatmaps) {
  const int64_t maps = image_count(problem) * problem.joints;
  for_items(maps, map_pixels(problem), [&](int64_t map, int32_t pixel) {
    voxel_unpack_item(problem, map, pixel, packed, heatmaps);
  });
}

template <typename Element>
int forward_as(const VoxelProblem& problem, Element* volume, cudaStream_t stream) {
  void (*const kernels[])(VoxelProblem, Element*) = {forward<1, Element>, forward<2, Element>,
                                                     forward<3, Element>, forward<4, Element>};
  constexpr int kMostGroups = sizeof kernels / sizeof *kernels;
  const int groups = group_count(problem);
  return launch(kernels[(groups < kMostGroups ? groups : kMostGroups) - 1], problem.boxes,
                voxel_count(problem), stream, problem, volume);
}

}  // namespace

extern "C" {

int voxel_pack(const VoxelProblem* problem, const float* heatmaps, const int64_t* strides,
               float* packed, uint8_t* occupied, uint8_t* marks, cudaStream_t stream) {
  Strides copied;
  for (int i = 0; i < 5; ++i) copied.of[i] = strides[i];
  const int64_t images = image_count(*problem), pixels = voxel_image_pixels(*problem);
  const int status =
      launch(pack, images, pixels, stream, *problem, heatmaps, copied, packed, marks);
  if (status != cudaSuccess) return status;
  return launch(occupy, images, pixels, stream, *problem, marks, occupied);
}

int voxel_unpack(const VoxelProblem* problem, const float* packed, float* heatmaps,
                 cudaStream_t stream) {
  return launch(unpack, image_count(*problem) * problem->joints, map_pixels(*problem), stream,
                *problem, packed, heatmaps);
}

int voxel_spots(const VoxelProblem* problem, int32_t* pixel, float* right, float* down,
                cudaStream_t stream) {
  const VoxelSpots spots{pixel, right, down};
  return launch(locate, problem->boxes * problem->view_count, voxel_count(*problem), stream,
                *problem, spots);
}

int voxel_forward(const VoxelProblem* problem, void* volume, cudaStream_t stream) {
  if (problem->element == 0)
    return forward_as(*problem, static_cast<float*>(volume), stream);
  if (problem->element == 1)
    return forward_as(*problem, static_cast<uint16_t*>(volume), stream);
  return forward_as(*problem, static_cast<__half*>(volume), stream);
}

int voxel_backward(const VoxelProblem* problem, const float* gradient, float* packed,
                   cudaStream_t stream) {
  return launch(backward, problem->boxes * group_count(*problem), voxel_count(*problem), stream,
                *problem, gradient, packed);
}

}  // extern "C"
