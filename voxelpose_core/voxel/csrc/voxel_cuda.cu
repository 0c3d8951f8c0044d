// The voxel op on GPUs: one launch for all boxes, views and joints, one thread an item of
// voxel_items.h. The same C interface as voxel_cpu.cpp; each function returns a cudaError_t. Pointers
// within the problem are the device's, the problem itself and strides are the host's.

#include <cuda_runtime.h>

#include "voxel_items.h"

namespace {

constexpr int kThreads = 256;

VOXEL_FUNCTION int64_t packed_pixels(const VoxelProblem& problem) {
  return problem.scenes * problem.view_count * voxel_image_pixels(problem);
}

VOXEL_FUNCTION int64_t spot_count(const VoxelProblem& problem) {
  return problem.boxes * problem.view_count * voxel_count(problem);
}

VOXEL_FUNCTION int64_t heatmap_pixels(const VoxelProblem& problem) {
  return problem.scenes * problem.view_count * problem.joints *
         int64_t(problem.heatmap_height) * problem.heatmap_width;
}

struct Strides {
  int64_t of[5];
};

__device__ inline int64_t first_item() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }
__device__ inline int64_t item_step() { return int64_t(gridDim.x) * blockDim.x; }

template <typename Element>
__global__ void __launch_bounds__(kThreads) forward(VoxelProblem problem, Element* volume) {
  const int64_t count = voxel_item_count(problem);
  for (int64_t i = first_item(); i < count; i += item_step())
    voxel_forward_item(problem, i, volume);
}

__global__ void __launch_bounds__(kThreads)
    backward(VoxelProblem problem, const float* gradient, float* packed) {
  const int64_t count = voxel_item_count(problem);
  for (int64_t i = first_item(); i < count; i += item_step())
    voxel_backward_item(problem, i, gradient, packed);
}

__global__ void pack(VoxelProblem problem, const float* heatmaps, Strides strides, float* packed,
                     uint8_t* marks) {
  const int64_t count = packed_pixels(problem);
  for (int64_t i = first_item(); i < count; i += item_step())
    voxel_pack_item(problem, i, heatmaps, strides.of, packed, marks);
}

__global__ void occupy(VoxelProblem problem, const uint8_t* marks, uint8_t* occupied) {
  const int64_t count = packed_pixels(problem);
  for (int64_t i = first_item(); i < count; i += item_step())
    voxel_occupied_item(problem, i, marks, occupied);
}

__global__ void locate(VoxelProblem problem, VoxelSpots spots) {
  const int64_t count = spot_count(problem);
  for (int64_t i = first_item(); i < count; i += item_step()) voxel_spot_item(problem, i, spots);
}

__global__ void unpack(VoxelProblem problem, const float* packed, float* heatmaps) {
  const int64_t count = heatmap_pixels(problem);
  for (int64_t i = first_item(); i < count; i += item_step())
    voxel_unpack_item(problem, i, packed, heatmaps);
}

// Blocks for so many items; beyond the limit threads take several.
int blocks(int64_t items) {
  const int64_t wanted = (items + kThreads - 1) / kThreads;
  return static_cast<int>(wanted < (1 << 20) ? (wanted > 0 ? wanted : 1) : (1 << 20));
}

}  // namespace

extern "C" {

int voxel_pack(const VoxelProblem* problem, const float* heatmaps, const int64_t* strides,
               float* packed, uint8_t* occupied, uint8_t* marks, cudaStream_t stream) {
  Strides copied;
  for (int i = 0; i < 5; ++i) copied.of[i] = strides[i];
  const int count = blocks(packed_pixels(*problem));
  pack<<<count, kThreads, 0, stream>>>(*problem, heatmaps, copied, packed, marks);
  occupy<<<count, kThreads, 0, stream>>>(*problem, marks, occupied);
  return cudaGetLastError();
}

int voxel_spots(const VoxelProblem* problem, int32_t* pixel, float* right, float* down,
                cudaStream_t stream) {
  const VoxelSpots spots{pixel, right, down};
  locate<<<blocks(spot_count(*problem)), kThreads, 0, stream>>>(*problem, spots);
  return cudaGetLastError();
}

int voxel_unpack(const VoxelProblem* problem, const float* packed, float* heatmaps,
                 cudaStream_t stream) {
  unpack<<<blocks(heatmap_pixels(*problem)), kThreads, 0, stream>>>(*problem, packed, heatmaps);
  return cudaGetLastError();
}

int voxel_forward(const VoxelProblem* problem, void* volume, cudaStream_t stream) {
  const int count = blocks(voxel_item_count(*problem));
  if (problem->element == 0)
    forward<<<count, kThreads, 0, stream>>>(*problem, static_cast<float*>(volume));
  else if (problem->element == 1)
    forward<<<count, kThreads, 0, stream>>>(*problem, static_cast<uint16_t*>(volume));
  else
    forward<<<count, kThreads, 0, stream>>>(*problem, static_cast<__half*>(volume));
  return cudaGetLastError();
}

int voxel_backward(const VoxelProblem* problem, const float* gradient, float* packed,
                   cudaStream_t stream) {
  backward<<<blocks(voxel_item_count(*problem)), kThreads, 0, stream>>>(*problem, gradient,
                                                                        packed);
  return cudaGetLastError();
}

}  // extern "C"
