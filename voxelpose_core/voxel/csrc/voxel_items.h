// What one GPU thread of voxel_cuda.cu does.
#pragma once

#include "voxel_math.h"

// Joints that are read at once: two 16-byte loads.
#define VOXEL_GROUP 8

// One voxel of one box.
struct VoxelItem {
  int64_t box;
  int32_t voxel;
  float position[3];
  const VoxelView* views;
  int64_t image;  // first packed heatmap of the scene
};

VOXEL_FUNCTION VoxelItem voxel_item(const VoxelProblem& problem, int64_t box, int32_t voxel) {
  VoxelItem item;
  item.box = box;
  item.voxel = voxel;
  const int64_t scene = problem.scene[box];
  item.views = problem.views + scene * problem.view_count;
  item.image = scene * problem.view_count;
  if (problem.spots.pixel == nullptr)
    voxel_position(problem, box, voxel, item.position[0], item.position[1], item.position[2]);
  return item;
}

VOXEL_FUNCTION VoxelTap voxel_item_tap(const VoxelProblem& problem, const VoxelItem& item,
                                       int view) {
  const bool present = item.views[view].present > 0;
  if (problem.spots.pixel == nullptr) {
    const VoxelSpot spot = voxel_spot(item.views[view], problem, item.position[0],
                                      item.position[1], item.position[2]);
    return voxel_tap(spot.pixel, spot.right, spot.down, present, voxel_nowhere(problem));
  }
  const int64_t at = voxel_first_spot(problem, item.box, view) + item.voxel;
  return voxel_tap(problem.spots.pixel[at], problem.spots.right[at], problem.spots.down[at], present,
                   voxel_nowhere(problem));
}

// Adds the weighted joints of a group, 32-byte aligned.
VOXEL_FUNCTION void voxel_add_weighted(const float* from, float weight, float* sum) {
#ifdef __CUDA_ARCH__
  const float4 low = __ldg(reinterpret_cast<const float4*>(from));
  const float4 high = __ldg(reinterpret_cast<const float4*>(from) + 1);
  const float values[VOXEL_GROUP] = {low.x,  low.y,  low.z,  low.w,
                                     high.x, high.y, high.z, high.w};
#else
  const float* values = from;
#endif
  for (int j = 0; j < VOXEL_GROUP; ++j) sum[j] += weight * values[j];
}

// Mean over the views, not clamped, of kGroups groups of joints from `joint` on; returns
// 1 / (number of views + epsilon). The loops over groups are unrolled, so that sums stay in registers.
template <int kGroups>
VOXEL_FUNCTION float voxel_item_mean(const VoxelProblem& problem, const VoxelItem& item, int joint,
                                     float (&mean)[kGroups * VOXEL_GROUP]) {
  const int64_t size = voxel_image_size(problem);
  const int64_t right = problem.padded_joints, below = right * (problem.heatmap_width + 2);
  for (int j = 0; j < kGroups * VOXEL_GROUP; ++j) mean[j] = 0.0f;
  float weight = VOXEL_WEIGHT_EPSILON;
  for (int index = 0; index < problem.view_count; ++index) {
    const VoxelTap tap = voxel_item_tap(problem, item, index);
    if (tap.seen == 0.0f) continue;
    weight += 1.0f;
    const int64_t image = item.image + index;
    if (!problem.occupied[image * voxel_image_pixels(problem) + tap.pixel]) continue;
    const float* at = problem.heatmaps + image * size + tap.pixel * right + joint;
    for (int group = 0; group < kGroups; ++group) {
      float* sum = mean + group * VOXEL_GROUP;
      voxel_add_weighted(at, tap.weight[0], sum);
      voxel_add_weighted(at + right, tap.weight[1], sum);
      voxel_add_weighted(at + below, tap.weight[2], sum);
      voxel_add_weighted(at + below + right, tap.weight[3], sum);
      at += VOXEL_GROUP;
    }
  }
  const float inverse = 1.0f / weight;
  for (int j = 0; j < kGroups * VOXEL_GROUP; ++j) mean[j] *= inverse;
  return inverse;
}

// Many threads add to the same pixel at the same time.
VOXEL_FUNCTION void voxel_add(float* place, float value) {
#ifdef __CUDA_ARCH__
  atomicAdd(place, value);
#else
  *place += value;
#endif
}

// Adds what the packed heatmaps get of the gradient (float32, the volume's layout) of one group of
// joints of one voxel.
VOXEL_FUNCTION void voxel_backward_item(const VoxelProblem& problem, int64_t box, int group,
                                        int32_t voxel, const float* gradient, float* packed) {
  const VoxelItem item = voxel_item(problem, box, voxel);
  const int joint = group * VOXEL_GROUP;
  float value[VOXEL_GROUP];
  const float inverse = voxel_item_mean<1>(problem, item, joint, value);
  bool any = false;
  for (int j = 0; j < VOXEL_GROUP; ++j) {
    // The clamp passes nothing where it was active.
    const bool passes = joint + j < problem.joints && value[j] >= 0.0f && value[j] <= 1.0f;
    value[j] =
        passes ? inverse * gradient[voxel_place(problem, box, voxel, joint + j)] : 0.0f;
    any |= value[j] != 0.0f;
  }
  if (!any) return;
  const int64_t size = voxel_image_size(problem);
  const int64_t right = problem.padded_joints, below = right * (problem.heatmap_width + 2);
  const int64_t corners[4] = {0, right, below, below + right};
  for (int view = 0; view < problem.view_count; ++view) {
    const VoxelTap tap = voxel_item_tap(problem, item, view);
    if (tap.seen == 0.0f) continue;
    float* at = packed + (item.image + view) * size + tap.pixel * right + joint;
    for (int corner = 0; corner < 4; ++corner)
      for (int j = 0; j < VOXEL_GROUP; ++j)
        if (joint + j < problem.joints)
          voxel_add(at + corners[corner] + j, tap.weight[corner] * value[j]);
  }
}

// Reads a pixel of the packed layout of one image (scene and view) in, all of its joints, and marks
// whether one of them is not zero.
VOXEL_FUNCTION void voxel_pack_item(const VoxelProblem& problem, int64_t image, int32_t pixel,
                                    const float* heatmaps, const int64_t* strides, float* packed,
                                    uint8_t* marks) {
  const int32_t width = problem.heatmap_width + 2;
  const int32_t x = pixel % width - 1, y = pixel / width - 1;
  const bool border =
      x < 0 || y < 0 || x >= problem.heatmap_width || y >= problem.heatmap_height;
  const float* from = heatmaps + image / problem.view_count * strides[0] +
                      image % problem.view_count * strides[1] + y * strides[3] + x * strides[4];
  const int64_t at = image * voxel_image_pixels(problem) + pixel;
  float* to = packed + at * problem.padded_joints;
  bool any = false;
  for (int j = 0; j < problem.padded_joints; j += 4) {
    float values[4];
    for (int k = 0; k < 4; ++k) {
      values[k] = border || j + k >= problem.joints ? 0.0f : from[(j + k) * strides[2]];
      any |= values[k] != 0.0f;
    }
#ifdef __CUDA_ARCH__
    *reinterpret_cast<float4*>(to + j) = make_float4(values[0], values[1], values[2], values[3]);
#else
    for (int k = 0; k < 4; ++k) to[j + k] = values[k];
#endif
  }
  marks[at] = any;
}

// Whether one of the four pixels of the tap at a pixel of one image is marked. No tap starts in the
// last row or column.
VOXEL_FUNCTION void voxel_occupied_item(const VoxelProblem& problem, int64_t image, int32_t pixel,
                                        const uint8_t* marks, uint8_t* occupied) {
  const int32_t width = problem.heatmap_width + 2;
  const bool last = pixel % width == width - 1 || pixel / width > problem.heatmap_height;
  const int64_t index = image * voxel_image_pixels(problem) + pixel;
  const uint8_t* at = marks + index;
  occupied[index] = last ? 0 : at[0] | at[1] | at[width] | at[width + 1];
}

VOXEL_FUNCTION void voxel_spot_item(const VoxelProblem& problem, int64_t box, int view,
                                    int32_t voxel, const VoxelSpots& spots) {
  float x, y, z;
  voxel_position(problem, box, voxel, x, y, z);
  const VoxelView& seen_by = problem.views[problem.scene[box] * problem.view_count + view];
  const VoxelSpot spot = voxel_spot(seen_by, problem, x, y, z);
  const int64_t at = voxel_first_spot(problem, box, view) + voxel;
  spots.pixel[at] = spot.pixel;
  spots.right[at] = spot.right;
  spots.down[at] = spot.down;
}

// Writes a pixel of one map (scene, view and joint) of (B, V, J, H, W) from the packed layout.
VOXEL_FUNCTION void voxel_unpack_item(const VoxelProblem& problem, int64_t map, int32_t pixel,
                                      const float* packed, float* heatmaps) {
  const int32_t width = problem.heatmap_width;
  const int32_t x = pixel % width, y = pixel / width;
  const int64_t image = map / problem.joints, joint = map % problem.joints;
  const int64_t from = image * voxel_image_pixels(problem) + (y + 1) * (width + 2) + x + 1;
  heatmaps[map * problem.heatmap_height * width + pixel] =
      packed[from * problem.padded_joints + joint];
}
