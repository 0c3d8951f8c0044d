// Runs the GPU's items one after the other, for the tests of machines without a GPU.

#include "voxel_items.h"

extern "C" {

void items_pack(const VoxelProblem* problem, const float* heatmaps, const int64_t* strides,
                float* packed, uint8_t* occupied, uint8_t* marks, int) {
  const int64_t pixels = problem->scenes * problem->view_count * voxel_image_pixels(*problem);
  for (int64_t i = 0; i < pixels; ++i)
    voxel_pack_item(*problem, i, heatmaps, strides, packed, marks);
  for (int64_t i = 0; i < pixels; ++i) voxel_occupied_item(*problem, i, marks, occupied);
}

void items_spots(const VoxelProblem* problem, int32_t* pixel, float* right, float* down, int) {
  const VoxelSpots spots{pixel, right, down};
  for (int64_t i = 0; i < problem->boxes * problem->view_count * voxel_count(*problem); ++i)
    voxel_spot_item(*problem, i, spots);
}

void items_forward(const VoxelProblem* problem, void* volume, int) {
  for (int64_t i = 0; i < voxel_item_count(*problem); ++i)
    if (problem->element == 0)
      voxel_forward_item(*problem, i, static_cast<float*>(volume));
    else
      voxel_forward_item(*problem, i, static_cast<uint16_t*>(volume));
}

void items_backward(const VoxelProblem* problem, const float* gradient, float* packed, int) {
  for (int64_t i = 0; i < voxel_item_count(*problem); ++i)
    voxel_backward_item(*problem, i, gradient, packed);
}

void items_unpack(const VoxelProblem* problem, const float* packed, float* heatmaps, int) {
  const int64_t pixels = problem->scenes * problem->view_count * problem->joints *
                         int64_t(problem->heatmap_height) * problem->heatmap_width;
  for (int64_t i = 0; i < pixels; ++i) voxel_unpack_item(*problem, i, packed, heatmaps);
}

}  // extern "C"
